from tetrad_reward.function_environment import FunctionEnvironment

PROMPT = [{"role": "user", "content": "hi"}]


def reward_of(function, extras, response="abc"):
    environment = FunctionEnvironment(function, extras)
    environment.init(PROMPT)
    return environment.step(response)["reward"]


def test_the_ground_truth_is_the_second_argument():
    reward = reward_of(lambda response, truth: float(response == truth), {"reward_spec": {"ground_truth": "abc"}})

    assert reward == 1.0


def test_a_row_without_ground_truth_gives_none():
    assert reward_of(lambda response, truth: float(truth is None), {}) == 1.0


def test_extras_that_are_not_accepted_are_not_passed():
    def fn(response, ground_truth, level=0):
        return float(level)

    assert reward_of(fn, {"level": 3, "other": 4}) == 3.0


def test_all_extras_reach_a_function_with_keywords():
    def fn(response, ground_truth, **extras):
        return float(len(extras))

    assert reward_of(fn, {"level": 3, "other": 4}) == 3.0  # with the prompt


def test_a_column_named_like_a_positional_parameter_does_not_collide():
    def fn(response, ground_truth, **extras):
        return float("response" in extras)

    assert reward_of(fn, {"response": "column"}) == 0.0
