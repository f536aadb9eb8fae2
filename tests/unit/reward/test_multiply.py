"""Products over several turns: SkyRL's rewards, and tools that do one step."""

import pytest

from tetrad_reward.environments.multiply import INSTRUCTIONS, Multiply, call_tool

ASK = [{"role": "user", "content": "What is 123 * 45?"}]


def an_episode(max_turns=3, **settings):
    return Multiply(settings, {"reward_spec": {"ground_truth": "5535"}, "max_turns": max_turns})


def a_call(name, a, b):
    return f'<tool_call>{{"name": "{name}", "arguments": {{"a": {a}, "b": {b}}}}}</tool_call>'


def test_an_episode_with_tools_leads_to_the_product():
    episode = an_episode(max_turns=5)
    prompt, _ = episode.init(ASK)

    said = [
        episode.step(action)["observations"][0]["content"]
        for action in (a_call("multiply", 123, 5), a_call("multiply", 1230, 4), a_call("add", 615, 4920))
    ]
    last = episode.step(r"So \boxed{5535}.")

    assert prompt == [{"role": "system", "content": INSTRUCTIONS}, *ASK]
    assert said == [f"<tool_response>{number}</tool_response>" for number in (615, 4920, 5535)]
    assert (last["reward"], last["done"], last["observations"]) == (1.0, True, [])
    assert episode.get_metrics() == {"turns": 4, "tool_calls": 3}


@pytest.mark.parametrize(
    ("action", "reward"),
    [(r"\boxed{5535}", 1.0), (r"\boxed{ 5535 }", 1.0), (r"\boxed{5}", 0.5), ("5535", 0.0), ("", 0.0)],
)
def test_the_last_turn_is_paid_as_in_skyrl(action, reward):
    output = an_episode(max_turns=1).step(action)

    assert (output["reward"], output["done"]) == (reward, True)


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (r"\boxed{5}", "Your answer '5' is incorrect. Please try again."),
        ("hm", "Please provide your answer in the format \\boxed{your_answer}."),
    ],
)
def test_a_turn_before_the_last_is_answered_and_not_paid(action, said):
    output = an_episode().step(action)

    assert (output["reward"], output["done"]) == (0.0, False)
    assert output["observations"] == [{"role": "user", "content": said}]


def test_without_tools_a_call_is_no_answer():
    episode = an_episode(tools=False)

    assert episode.init(ASK)[0] == ASK
    assert "format" in episode.step(a_call("add", 1, 2))["observations"][0]["content"]


def test_a_system_message_of_the_row_stays_alone():
    prompt = [{"role": "system", "content": "mine"}, *ASK]

    assert an_episode().init(prompt)[0] == prompt


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ('{"name": "add", "arguments": {"a": 1, "b": 2}}', "3"),
        ('{"name": "add", "arguments": {"a": "-1", "b": 2}}', "1"),
        ('{"name": "multiply", "arguments": {"a": 7, "b": -123}}', "-861"),
        ('{"name": "multiply", "arguments": {"a": 12, "b": 34}}', "error: one of a and b has a single digit"),
        ('{"name": "divide", "arguments": {"a": 1, "b": 2}}', "error: no tool 'divide'; there are multiply, add"),
        ('{"name": "add", "arguments": {"a": 1.5, "b": 2}}', "error: a and b are whole numbers"),
        ('{"name": "add", "arguments": {"a": true, "b": 2}}', "error: a and b are whole numbers"),
        (
            '{"name": "add", "arguments": {"a": "' + "9" * 65 + '", "b": 2}}',
            "error: a and b are whole numbers of at most 64 digits",
        ),
        ('{"name": "add", "arguments": {"a": 1}}', "error: a call is JSON with name and arguments"),
        ("[" * 500, "error: a call is JSON with name and arguments"),
        ("9" * 5000, "error: a call is JSON with name and arguments"),
        ("null", "error: a call is JSON with name and arguments"),
    ],
)
def test_a_call_is_answered_with_its_result_or_with_what_is_wrong(call, answer):
    assert call_tool(call) == answer


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match="multiply has no setting tool; it has tools"):
        Multiply.prepare_grader({"tool": False})
