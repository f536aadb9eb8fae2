from fractions import Fraction
from itertools import combinations

import pytest

from tetrad_learner.coordinator.evaluation import EvaluationRound, Verdict
from tetrad_learner.coordinator.pass_at_k import pass_at_k, reported_ks
from tetrad_learner.coordinator.tasks import EvaluationTask

TASKS = (
    EvaluationTask("gsm8k", 0, "eval", 2),
    EvaluationTask("gsm8k", 1, "eval", 2),
    EvaluationTask("math", 0, "eval", 2),
)


ORDERS = ((1e16, 1.0, -1e16), (1.0, 1e16, -1e16), (1e16, -1e16, 1.0))


def a_round(rewards: dict[int, list[float]], tasks=TASKS) -> EvaluationRound:
    round_ = EvaluationRound(5, tasks)
    for ordinal, values in rewards.items():
        for index, reward in enumerate(values):
            round_.add(ordinal, index, Verdict(reward))
    return round_


def test_scores_are_per_dataset_and_over_all() -> None:
    metrics = a_round({0: [1.0, 0.0], 1: [0.0, 0.0], 2: [1.0, 1.0]}).metrics(missing=0)

    assert metrics["eval/gsm8k/mean_reward"] == 0.25
    assert metrics["eval/math/mean_reward"] == 1.0
    assert metrics["eval/all/mean_reward"] == metrics["eval/all/avg_score"] == 0.5


def test_pass_at_k_counts_prompts_with_any_rewarded_sample() -> None:
    metrics = a_round({0: [1.0, 0.0], 1: [0.0, 0.0], 2: [1.0, 1.0]}).metrics(missing=0)

    assert metrics["eval/all/pass_at_1"] == 0.5
    assert metrics["eval/all/pass_at_2"] == pytest.approx(2 / 3)
    assert metrics["eval/gsm8k/pass_at_2"] == 0.5


def test_a_negative_reward_counts_in_the_mean_only() -> None:
    metrics = a_round({0: [1.0, -1.0], 1: [0.0, 0.0], 2: [0.0, 0.0]}).metrics(missing=0)

    assert metrics["eval/all/mean_reward"] == 0.0
    assert metrics["eval/all/mean_positive_reward"] == pytest.approx(1 / 6)


def test_a_repeated_sample_changes_nothing() -> None:
    round_ = a_round({0: [1.0, 0.0]})

    round_.add(0, 0, Verdict(-7.0))

    assert round_.num_evaluated == 2
    assert round_.verdicts[0][0].reward == 1.0


@pytest.mark.parametrize("num_samples", range(1, 8))
def test_pass_at_k_is_the_share_of_choices_of_k_samples_with_a_right_one(num_samples) -> None:
    for num_right in range(num_samples + 1):
        samples = [number < num_right for number in range(num_samples)]
        for k in range(1, num_samples + 1):
            choices = [any(chosen) for chosen in combinations(samples, k)]

            assert pass_at_k(num_samples, num_right, k) == float(Fraction(sum(choices), len(choices)))


def test_of_fewer_samples_than_k_all_are_taken() -> None:
    assert (pass_at_k(3, 1, 8), pass_at_k(3, 0, 8)) == (1.0, 0.0)


def test_pass_at_k_is_exact_for_more_samples_than_a_float_can_count() -> None:
    assert pass_at_k(2000, 1, 1000) == 0.5


def test_the_ks_are_powers_of_two_and_all_samples() -> None:
    assert [list(reported_ks(n)) for n in (1, 2, 3, 5, 8)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4, 5], [1, 2, 4, 8]]


def test_every_k_is_reported_and_estimated_without_bias() -> None:
    tasks = (EvaluationTask("gsm8k", 0, "eval", 4), EvaluationTask("gsm8k", 1, "eval", 4))

    metrics = a_round({0: [1.0, 0.0, 0.0, 0.0], 1: [1.0, 1.0, 0.0, 0.0]}, tasks).metrics(missing=0)

    assert {name: value for name, value in metrics.items() if "all/pass" in name} == {
        "eval/all/pass_at_1": 3 / 8,
        "eval/all/pass_at_2": pytest.approx((1 / 2 + 5 / 6) / 2),
        "eval/all/pass_at_4": 1.0,
    }


def test_extra_scores_are_averaged_beside_the_reward() -> None:
    tasks = (EvaluationTask("gsm8k", 0, "eval", 2), EvaluationTask("sums", 0, "eval", 1))
    round_ = EvaluationRound(5, tasks)
    round_.add(0, 0, Verdict(0.0, {"strict": 0.0, "flexible": 1.0}))
    round_.add(0, 1, Verdict(1.0, {"strict": 1.0, "flexible": 1.0}))

    metrics = round_.metrics(missing=0)

    assert metrics["eval/gsm8k/mean_reward"] == metrics["eval/gsm8k/mean_reward_strict"] == 0.5
    assert metrics["eval/all/mean_reward_flexible"] == 1.0


def test_an_extra_score_that_some_samples_lack_is_not_averaged() -> None:
    tasks = (EvaluationTask("gsm8k", 0, "eval", 1), EvaluationTask("sums", 0, "eval", 1))
    round_ = EvaluationRound(5, tasks)
    round_.add(0, 0, Verdict(0.0, {"strict": 0.0}))
    round_.add(1, 0, Verdict(1.0))

    metrics = round_.metrics(missing=0)

    assert [name for name in metrics if "strict" in name] == ["eval/gsm8k/mean_reward_strict"]


def test_the_order_of_arrival_has_no_say_in_the_last_bit() -> None:
    tasks = (EvaluationTask("gsm8k", 0, "eval", 3),)

    means = {a_round({0: list(order)}, tasks).metrics(missing=0)["eval/all/mean_reward"] for order in ORDERS}

    assert len(means) == 1


def test_single_samples_have_no_pass_at_k_beyond_one() -> None:
    tasks = (EvaluationTask("gsm8k", 0, "eval", 1),)

    metrics = a_round({0: [1.0]}, tasks).metrics(missing=0)

    assert [name for name in metrics if "pass_at" in name] == ["eval/gsm8k/pass_at_1", "eval/all/pass_at_1"]


def test_modes_are_scored_apart() -> None:
    tasks = (EvaluationTask("gsm8k", 0, "eval", 1), EvaluationTask("gsm8k", 0, "eval_sampled", 2))

    metrics = a_round({0: [1.0], 1: [0.0, 0.0]}, tasks).metrics(missing=0)

    assert metrics["eval/all/mean_reward"] == 1.0
    assert metrics["eval_sampled/all/mean_reward"] == 0.0


def test_a_few_missing_are_shown_beside_the_score() -> None:
    tasks = tuple(EvaluationTask("gsm8k", row, "eval", 1) for row in range(40))

    metrics = a_round({row: [1.0] for row in range(39)}, tasks).metrics(missing=1)

    assert metrics["eval/num_missing"] == 1.0
    assert metrics["eval/all/mean_reward"] == 1.0


def test_with_too_many_missing_no_score_is_reported() -> None:
    assert a_round({0: [1.0, 1.0]}).metrics(missing=4) == {"eval/num_missing": 4.0}


def test_a_dataset_without_any_sample_has_no_score() -> None:
    tasks = (*(EvaluationTask("gsm8k", row, "eval", 1) for row in range(40)), EvaluationTask("math", 0, "eval", 1))

    metrics = a_round({row: [1.0] for row in range(40)}, tasks).metrics(missing=1)

    assert not any(name.startswith("eval/math") for name in metrics)
