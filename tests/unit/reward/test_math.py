"""Formulas: which responses are right, which are wrong, and what hostile ones cost."""

import threading

import pytest

pytest.importorskip("math_verify", reason="the extra 'math' is not installed")

from tetrad_reward.environments.math import Math
from tetrad_reward.math_answers import BOX_CHARS, too_much

RIGHT, WRONG = 1.0, 0.0
# Ground truth, response, reward, rule.
TABLE = [
    ("1/2", r"\boxed{\frac{2}{4}}", RIGHT, "boxed"),
    ("1/2", r"\boxed{0.5}", RIGHT, "boxed"),
    ("1/2", r"The answer is \frac12.", RIGHT, "answer_is"),
    (r"\frac{3}{4}", "Answer: 0.75", RIGHT, "answer_is"),
    ("12", "so\n#### 12", RIGHT, "hash"),
    ("12", "12 apples", RIGHT, "tail"),
    ("3", "so x = 3", RIGHT, "tail"),
    ("1000", "The answer is $1,000.", RIGHT, "answer_is"),
    ("1000", "$1,000", RIGHT, "tail"),
    ("12", r"\boxed{12\text{ cm}}", RIGHT, "boxed"),
    ("-3", "\\boxed{\N{MINUS SIGN}3}", RIGHT, "boxed"),
    ("5", r"\boxed{6} … no, \boxed{5}", RIGHT, "boxed"),
    ("6", r"\boxed{6} … no, \boxed{5}", WRONG, "boxed"),
    (r"\sqrt{2}", r"\boxed{2^{1/2}}", RIGHT, "boxed"),
    ("(1,2)", r"\boxed{(1, 2)}", RIGHT, "boxed"),
    ("[0,1)", r"\boxed{[0,1)}", RIGHT, "boxed"),
    ("[0,1)", r"\boxed{[0,1]}", WRONG, "boxed"),
    (r"\{1,2\}", r"\boxed{\{2,1\}}", RIGHT, "boxed"),
    ("x^2-1", r"\boxed{(x-1)(x+1)}", RIGHT, "boxed"),
    ("2x+3", r"\boxed{3+2x}", RIGHT, "boxed"),
    ("x=5", r"\boxed{5}", RIGHT, "boxed"),
    ("5", r"\boxed{x=5}", RIGHT, "boxed"),
    (r"50\%", r"\boxed{0.5}", RIGHT, "boxed"),
    (r"\pi", r"\boxed{3.14}", WRONG, "boxed"),
    ("A", r"\boxed{A}", RIGHT, "boxed"),
    ("A", r"\boxed{\text{A}}", RIGHT, "boxed"),
    ("A", r"\boxed{B}", WRONG, "boxed"),
    (r"\boxed{7}", r"\boxed{7}", RIGHT, "boxed"),
    ("$7$", r"\boxed{7}", RIGHT, "boxed"),
    ("2^{100}", r"\boxed{1267650600228229401496703205376}", RIGHT, "boxed"),
    ("0.333", r"\boxed{\frac13}", WRONG, "boxed"),
    ("5", r"\boxed{}", WRONG, "boxed"),
    ("5", "", WRONG, None),
    ("5", "I do not know", WRONG, "tail"),
    # Hostile: judged by the rule, at once.
    ("9", r"\boxed{9^{9^{9^9}}}", WRONG, "boxed"),
    ("9", "9**9**9**9", WRONG, "tail"),
    ("1", r"\boxed{10^{99999}}", WRONG, "boxed"),
    ("1", r"\boxed{(9^9)!}", WRONG, "boxed"),
    ("1", r"\boxed{99999!}", WRONG, "boxed"),
    ("1", r"\boxed{" + "(" * 400 + "1" + ")" * 400 + "}", WRONG, "boxed"),
    ("1", r"\boxed{" + "(" * 3000 + "1" + ")" * 3000 + "}", WRONG, "boxed"),
    ("1", "9" * 100_000, WRONG, "tail"),
    ("1", r"\boxed{" * 20_000, WRONG, "tail"),
    ("5", "#" * 100_000, WRONG, "tail"),
]


def graded(ground_truth, response, **settings):
    environment = Math(settings, {"reward_spec": {"ground_truth": ground_truth}})
    return environment.step(response)


@pytest.mark.parametrize(("ground_truth", "response", "reward", "rule"), TABLE, ids=range(len(TABLE)))
def test_a_response_gets_what_its_last_answer_is_worth(ground_truth, response, reward, rule):
    output = graded(ground_truth, response)

    assert (output["reward"], output["metadata"]["rule"], output["done"]) == (reward, rule, True)


def test_only_a_box_counts_where_that_is_asked_for():
    assert graded("5", "The answer is 5", mode="boxed")["reward"] == WRONG
    assert graded("5", r"\boxed{5}", mode="boxed")["reward"] == RIGHT


@pytest.mark.parametrize("ground_truth", ["", "$$", r"\boxed{}", "9^{9^{9^9}}"])
def test_a_ground_truth_that_cannot_be_judged_is_the_rows_fault(ground_truth):
    with pytest.raises(ValueError, match="ground_truth"):
        graded(ground_truth, "5")


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match="math has no setting mod; it has mode"):
        Math.prepare_grader({"mod": "boxed"})


def test_no_signal_is_needed():
    outputs = []
    thread = threading.Thread(target=lambda: outputs.append(graded("1/2", r"\boxed{\frac{2}{4}}")))

    thread.start()
    thread.join(30)

    assert [output["reward"] for output in outputs] == [RIGHT]


@pytest.mark.parametrize("text", ["e^{-x^2}", "2^{10}", "x^{n+1}", "5!", "a^2+b^2", r"\frac{1}{2}^{3}", "10^{9999}"])
def test_ordinary_formulas_are_not_too_much(text):
    assert too_much(text) is None


@pytest.mark.parametrize("unit", ["^", "(", "9^", "{", "!", "1^{", "**", "x^("])
def test_a_long_answer_is_too_much_before_anything_looks_into_it(unit):
    assert too_much(unit * 100_000) == "more than 1024 characters"


@pytest.mark.parametrize(("num_after", "reward"), [(BOX_CHARS - len(r"\boxed{7}"), 1.0), (BOX_CHARS, 0.0)])
def test_a_box_counts_near_the_end_of_a_response(num_after, reward):
    assert graded("7", r"\boxed{7}" + "x" * num_after, mode="boxed")["reward"] == reward
