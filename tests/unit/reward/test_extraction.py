"""The rules by which an answer is found, as one table: what each mode reads, and whether it pays."""

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrad_reward.extraction import Mode, Rule, as_number, extract, is_correct, is_same_number, last_boxed

S, B, F = Mode.STRICT, Mode.BOXED, Mode.FLEXIBLE

# response, ground truth, modes that pay
PAID = [
    # The four answers of the tutorial; SkyRL's own rule pays none of them.
    (r"3 + 2 = 5. The answer is \boxed{5}", "5", {B, F}),
    (r"Janet now has 5 apples. \boxed{5}", "5", {B, F}),
    (r"3 + 2 = 6. \boxed{6}", "5", set()),
    (r"The answer is \boxed{5}", "5", {B, F}),
    # `####`, as in the data set.
    ("3 + 2 = 5\n#### 5", "5", {S, F}),
    ("#### 5.", "5", {F}),
    ("#### 5.0", "5", {F}),
    ("#### $5", "5", {F}),
    ("####5", "5", {F}),
    ("####  5", "5", {F}),
    ("#### 12 apples", "12", {S, F}),
    ("#### 1,000", "1000", {S, F}),
    ("#### 1000", "1,000", {F}),
    ("#### -7", "-7", {S, F}),
    ("#### −7", "-7", {F}),
    ("#### 007", "7", {F}),
    ("#### +7", "7", {F}),
    ("#### **42**", "42", {F}),
    ("#### 50%", "50", {S, F}),
    ("#### 0.5", "0.5", {S, F}),
    ("#### .5", "0.5", {F}),
    ("#### 5 \n#### 6", "5", {S}),
    ("#### 5 \n#### 6", "6", {F}),
    ("#### five", "5", set()),
    ("### 5", "6", set()),
    ("##### 5", "5", {S, F}),
    ("#### ,", "5", set()),
    ("#### 1,2,3", "123", {S}),
    ("#### 5 dollars and 20 cents", "5", {S, F}),
    ("The answer: #### 18 eggs. That makes $18.", "18", {S, F}),
    # \boxed{}
    (r"\boxed{1,000}", "1000", {B, F}),
    (r"\boxed{\$5}", "5", {B, F}),
    (r"\boxed{$5$}", "5", {B, F}),
    (r"\boxed{50\%}", "50", {B, F}),
    (r"\boxed{5.00}", "5", {B, F}),
    (r"\boxed{ 5 }", "5", {B, F}),
    (r"\boxed {5}", "5", {B, F}),
    (r"\boxed{5\text{ apples}}", "5", {B, F}),
    (r"\boxed{5 \text{ apples}}", "5", {B, F}),
    (r"\boxed{\text{5}}", "5", {B, F}),
    (r"\boxed{5\,000}", "5000", {B, F}),
    (r"\boxed{5{,}000}", "5000", {B, F}),
    (r"\boxed{5 000}", "5000", {B, F}),
    (r"\boxed{x = 5}", "5", {B, F}),
    (r"\boxed{-5}", "-5", {B, F}),
    (r"\boxed{4} no, \boxed{5}", "5", {B, F}),
    (r"\boxed{5} no, \boxed{4}", "5", set()),
    (r"\boxed{5} and \boxed{6", "5", {B, F}),
    (r"\boxed{\boxed{5}}", "5", set()),
    (r"\boxed{}", "5", set()),
    (r"\boxed{\frac{10}{2}}", "5", set()),
    (r"\boxed{\frac{1}{2}}", "12", set()),
    (r"\boxed{five}", "5", set()),
    ("boxed{5}", "6", set()),
    (r"#### 6, I mean \boxed{5}", "5", {B}),
    # "answer is", then the last number
    ("The answer is 5.", "5", {F}),
    ("The answer is: **$1,234.50**", "1234.5", {F}),
    ("the final ANSWER IS -3, I think. It took 2 steps.", "-3", {F}),
    ("Answer: 5 (of 12)", "5", {F}),
    ("answer = 5 of 12", "5", {F}),
    ("The answer is 4. No: the answer is 5, from 1 and 2", "5", {F}),
    ("So she has 3 + 2 = 5", "5", {F}),
    ("She pays $1,000.00!", "1000", {F}),
    ("20-5", "5", {F}),
    ("It fell to -5", "-5", {F}),
    ("- 5 eggs", "5", {F}),
    ("one, 1,000, 2", "2", {F}),
    ("half, that is 50%", "50", {F}),
    ("I do not know.", "5", set()),
    ("", "5", set()),
    ("...", "5", set()),
    ("５", "5", set()),
    ("Infinity", "Infinity", set()),
    ("nan", "nan", set()),
]


@pytest.mark.parametrize(("response", "ground_truth", "paying"), PAID, ids=[row[0][:30] or "empty" for row in PAID])
def test_each_mode_pays_exactly_what_its_rule_says(response, ground_truth, paying):
    paid = {mode for mode in Mode if is_correct(extract(response, mode=mode), ground_truth, mode=mode)}

    assert paid == paying


def test_the_table_has_at_least_sixty_rows():
    assert len(PAID) >= 60


@pytest.mark.parametrize(
    ("response", "rule"),
    [
        ("#### 5", Rule.HASH),
        (r"\boxed{5} the answer is 6", Rule.BOXED),
        ("the answer is 6, or 7", Rule.ANSWER_IS),
        ("6, or 7", Rule.LAST_NUMBER),
    ],
)
def test_flexible_names_the_rule_that_found_the_value(response, rule):
    assert extract(response, mode=F).rule is rule


@pytest.mark.parametrize("mode", Mode)
def test_what_is_not_found_comes_with_a_reason(mode):
    found = extract("no idea", mode=mode)

    assert found.value is None
    assert found.rule is None
    assert found.reason


def skyrl_compute_score(solution, ground_truth):
    """The reference, from skyrl_gym.envs.gsm8k.utils with its default arguments."""
    import re

    found = re.search("#### (\\-?[0-9\\.\\,]+)", solution)
    if found is None:
        return 0
    answer = found.group(0).split("#### ")[1].replace(",", "").replace("$", "")
    return 1.0 if answer == ground_truth else 0.0


@pytest.mark.parametrize("row", PAID, ids=range(len(PAID)))
def test_strict_equals_skyrl_on_the_table(row):
    response, ground_truth, _ = row

    paid = is_correct(extract(response, mode=S), ground_truth, mode=S)

    assert paid == bool(skyrl_compute_score(response, ground_truth))


@given(st.text(alphabet="#$ -.,0123456789a\n", max_size=40), st.text(alphabet="-.0123456789", max_size=3))
def test_strict_equals_skyrl_on_any_text(response, ground_truth):
    paid = is_correct(extract(response, mode=S), ground_truth, mode=S)

    assert paid == bool(skyrl_compute_score(response, ground_truth))


@given(st.text(max_size=200))
def test_no_text_breaks_a_mode(response):
    for mode in Mode:
        found = extract(response, mode=mode)

        assert (found.value is None) == bool(found.reason)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**9), max_value=10**9))
def test_a_number_is_found_however_it_is_written(number):
    for text in (f"#### {number}", rf"\boxed{{{number:,}}}", f"The answer is ${number:,}.", f"{number}"):
        assert is_correct(extract(text, mode=F), str(number), mode=F), text


def test_a_ground_truth_that_is_no_number_never_matches_by_failing_to_parse():
    assert not is_same_number("x", "y")
    assert not is_same_number("", "")
    assert is_same_number(" x ", "x")


def test_numbers_beyond_any_answer_are_not_read():
    assert as_number("9" * 1000) is None
    assert as_number("1,000.50") == Decimal("1000.5")


def test_the_last_closed_box_wins_and_nested_braces_stay():
    assert last_boxed(r"\boxed{a{b}c} \boxed{\{x\}} \boxed{") == r"\{x\}"


@pytest.mark.parametrize(
    "hostile",
    [
        r"\boxed{" * 30_000,
        "{" * 200_000,
        "1," * 100_000,
        "answer is " * 20_000,
        "####" + " *" * 100_000,
        "-$" * 100_000,
    ],
    ids=["open boxes", "braces", "commas", "answers", "stars", "signs"],
)
def test_the_rules_are_linear_in_the_length(hostile):
    began = time.process_time()

    for mode in Mode:
        extract(hostile, mode=mode)

    # Seconds of slack: anything quadratic would take minutes.
    assert time.process_time() - began < 5.0
