import pytest

from tetrad_learner.coordinator.evaluation import EvaluationRound
from tetrad_learner.coordinator.tasks import EvaluationTask

TASKS = (
    EvaluationTask("gsm8k", 0, "eval", 2),
    EvaluationTask("gsm8k", 1, "eval", 2),
    EvaluationTask("math", 0, "eval", 2),
)


def a_round(rewards: dict[int, list[float]], tasks=TASKS) -> EvaluationRound:
    round_ = EvaluationRound(5, tasks)
    for ordinal, values in rewards.items():
        for index, reward in enumerate(values):
            round_.add(ordinal, index, reward)
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

    round_.add(0, 0, -7.0)

    assert round_.num_evaluated == 2
    assert round_.rewards[0][0] == 1.0


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
