"""What of `environment` and `reward` fits together, and what has no effect."""

import pytest

FUNCTIONS = "reward.functions=[{fn: gsm8k}, {fn: 'my.py:short', weight: 0.1}]"


def test_functions_are_named_after_themselves(load_run):
    functions = load_run("+experiment=demo", FUNCTIONS).config.reward.functions

    assert [(function.score_name, function.weight) for function in functions] == [("gsm8k", 1.0), ("short", 0.1)]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("[{fn: gsm8k}, {fn: gsm8k}]", "gsm8k, gsm8k are not different; set name"),
        ("[{fn: 'my.py:Über'}]", "no name of a score"),
        ("[{fn: gsm8k, weight: .inf}]", "must be finite"),
        ("[{fn: gsm8k, wait: 1}]", "reward.functions[0]: unknown key"),
        ("[" + ", ".join(f"{{fn: gsm8k, name: n{n}}}" for n in range(9)) + "]", "at most 8"),
    ],
)
def test_a_function_that_is_none_is_refused(problems_of, value, reason):
    problems = problems_of("+experiment=demo", f"reward.functions={value}")

    assert any(reason in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ((FUNCTIONS, "reward.implementation=my.py:fn"), "reward.functions"),
        (("environment.env_config={mode: boxed}", "environment.env_class=gsm8k"), "environment.env_config"),
        (("environment.env_class=code", "reward.grade_timeout=20"), "environment.code.total_timeout"),
        (("environment.env_class=llm_judge", "reward.grade_timeout=20"), "environment.llm_judge.timeout"),
        (("environment.llm_judge.prompt=judge this",), "environment.llm_judge.prompt"),
        (("environment.skyrl_gym.llm_as_a_judge.base_url=localhost",), "environment.skyrl_gym.llm_as_a_judge.base_url"),
        (("environment.skyrl_gym.max_env_workers=8",), "environment.skyrl_gym.max_env_workers"),
    ],
)
def test_what_does_not_fit_together_is_refused(problems_of, overrides, key):
    problems = problems_of("+experiment=demo", *overrides)

    assert [problem.split(":")[0] for problem in problems] == [key]


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ((FUNCTIONS, "environment.code.max_tests=1"), "reward.functions: environment.code.max_tests"),
        (
            ("reward.implementation=my.py:fn", "environment.math.mode=boxed"),
            "reward.implementation=my.py:fn: environment.math.mode",
        ),
        ((FUNCTIONS, "environment.env_config={a: 1}", "environment.env_class=m:C"), "environment.env_config"),
    ],
)
def test_settings_that_nothing_reads_are_named(load_run, overrides, reason):
    notices = load_run("+experiment=demo", *overrides).notices

    assert any(reason in notice for notice in notices), notices


def test_settings_of_a_component_have_an_effect(load_run):
    notices = load_run("+experiment=demo", FUNCTIONS, "environment.gsm8k.mode=boxed").notices

    assert not any("gsm8k" in notice for notice in notices)
