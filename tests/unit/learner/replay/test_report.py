"""Equal means equal bit for bit; what differs is named with both values."""

import math

from tetrad_learner.replay.job import Executed, Failure
from tetrad_learner.replay.report import compared, describe_failure

RECORDED = {"policy/final_loss": 0.1, "policy/grad_norm": 2.0, "policy/policy_entropy": 1.5, "timing/optimizer": 0.4}
REPLAYED = {"loss": 0.1, "grad_norm": 2.0, "entropy": 1.5, "seconds_optimizer": 0.9}


def test_a_step_that_is_repeated_bit_for_bit_is_equal() -> None:
    comparison = compared(Executed(metrics=REPLAYED, digest="ab"), RECORDED, digest="ab")

    assert comparison.is_equal
    assert comparison.text.splitlines() == [
        "loss 0.1: equal",
        "grad_norm 2.0: equal",
        "weights after the step ab: equal",
        "equal: all 3 recorded metrics, bit for bit",
    ]


def test_the_last_bit_counts() -> None:
    nearly = math.nextafter(0.1, 1.0)

    comparison = compared(Executed(metrics=REPLAYED | {"loss": nearly}, digest="ab"), RECORDED, digest="ab")

    assert not comparison.is_equal
    assert f"first difference: loss: recorded 0.1, replayed {nearly!r}" in comparison.text


def test_the_loss_is_named_before_anything_that_follows_from_it() -> None:
    comparison = compared(Executed(metrics={"entropy": 9.0, "loss": 8.0}, digest="cd"), RECORDED, digest="ab")

    assert "first difference: loss: recorded 0.1, replayed 8.0" in comparison.text
    assert "2 more differ" in comparison.text


def test_other_weights_are_a_difference() -> None:
    comparison = compared(Executed(metrics=REPLAYED, digest="cd"), RECORDED, digest="ab")

    assert not comparison.is_equal
    assert "weights after the step: recorded ab, replayed cd" in comparison.text


def test_nothing_to_compare_with_is_not_equal() -> None:
    comparison = compared(Executed(metrics=REPLAYED, digest="ab"), {}, digest="")

    assert not comparison.is_equal
    assert "nothing was recorded" in comparison.text


def test_a_failure_names_where_it_began() -> None:
    failure = Failure(
        step=3, error="loss is nan in step 3", loss=math.nan, module="model.norm", tensors=("weight a", "weight b")
    )

    assert describe_failure(failure).splitlines() == [
        "loss is nan in step 3",
        "loss nan, gradient norm unknown",
        "first module that is not finite: output of model.norm",
        "first tensor that is not finite: weight a and 1 more",
    ]
