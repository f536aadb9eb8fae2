import json
from pathlib import Path

import pytest

from tetrad_config import RunConfig, load
from tetrad_learner.coordinator.core.effects import Grant
from tetrad_learner.coordinator.core.keys import GroupKey, training
from tetrad_learner.coordinator.seeds import seed_of
from tetrad_learner.coordinator.tasks import EvaluationTask, Tasks, hard_timeout_s
from tetrad_trajectories.dataset import Dataset
from tetrad_wire.ids import Draw, Incarnation, PolicyVersion, Token
from tetrad_wire.messages.leases import Lane

OVERRIDES = (
    "trainer.train_batch_size=2",
    "trainer.policy_mini_batch_size=2",
    "trainer.seed=7",
    "generator.n_samples_per_prompt=3",
    "generator.eval_n_samples_per_prompt=2",
    "generator.sampling_params.temperature=0.9",
    "generator.eval_sampling_params.temperature=0.0",
)


def a_config(*overrides: str) -> RunConfig:
    return load([*OVERRIDES, *overrides], environ={"HOME": "/home/ada"}).config


def a_dataset(path: Path, *answers: str) -> Dataset:
    rows = [
        {
            "prompt": [{"role": "user", "content": f"What is {answer}?"}],
            "env_class": "gsm8k",
            "reward_spec": {"method": "rule", "ground_truth": answer},
            "level": 3,
        }
        for answer in answers
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Dataset.read([path])


@pytest.fixture
def training_set(tmp_path: Path) -> Dataset:
    return a_dataset(tmp_path / "train.jsonl", "1", "2", "3", "4")


@pytest.fixture
def validation(tmp_path: Path) -> list[tuple[str, Dataset]]:
    return [
        ("easy", a_dataset(tmp_path / "easy.jsonl", "10")),
        ("hard", a_dataset(tmp_path / "hard.jsonl", "20", "30")),
    ]


def a_grant(key: GroupKey, indices: tuple[int, ...] = (0, 1, 2)) -> Grant:
    return Grant(
        engine=Incarnation("e"),
        token=Token(5),
        key=key,
        indices=indices,
        version=PolicyVersion(4),
        grader_version="gsm8k-1",
    )


def test_an_epoch_asks_every_row_once(training_set: Dataset) -> None:
    tasks = Tasks(a_config(), training_set, [])

    answers = [tasks.prompt(training(draw)).ground_truth for draw in range(8)]

    assert sorted(answers[:4]) == sorted(answers[4:]) == ["1", "2", "3", "4"]


def test_a_prompt_carries_its_row(training_set: Dataset) -> None:
    prompt = Tasks(a_config(), training_set, []).prompt(training(0))

    assert prompt.env_class == "gsm8k"
    assert prompt.messages[0].content == f"What is {prompt.ground_truth}?"
    assert prompt.extras["level"] == 3
    assert prompt.uid.startswith(training_set.hash[:12])


def test_seeds_come_from_the_slot(training_set: Dataset) -> None:
    tasks = Tasks(a_config(), training_set, [])

    whole = tasks.lease(a_grant(training(6)))
    rest = tasks.lease(a_grant(training(6), indices=(2,)))

    assert whole.seeds == tuple(seed_of(7, 6, index) for index in range(3))
    assert rest.seeds == whole.seeds[2:]


def test_a_lease_says_all_that_its_engine_needs(training_set: Dataset) -> None:
    config = a_config("generator.max_turns=2")

    lease = Tasks(config, training_set, []).lease(a_grant(training(6)))

    assert (lease.token, lease.lane, lease.draw, lease.indices) == (5, Lane.TRAIN, 6, (0, 1, 2))
    assert (lease.version_min, lease.is_version_exact, lease.grader_version) == (4, True, "gsm8k-1")
    assert lease.max_turns == 2
    assert lease.hard_timeout_s == hard_timeout_s(config) > lease.progress_timeout_s


def test_every_row_is_evaluated_in_every_mode(validation) -> None:
    tasks = Tasks(a_config("trainer.eval_sampled_n=4"), None, validation)

    assert tasks.evaluation == (
        EvaluationTask("easy", 0, "eval", 2),
        EvaluationTask("hard", 0, "eval", 2),
        EvaluationTask("hard", 1, "eval", 2),
        EvaluationTask("easy", 0, "eval_sampled", 4),
        EvaluationTask("hard", 0, "eval_sampled", 4),
        EvaluationTask("hard", 1, "eval_sampled", 4),
    )


def test_an_evaluation_is_sampled_as_its_mode_says(validation) -> None:
    tasks = Tasks(a_config("trainer.eval_sampled_n=4"), None, validation)

    greedy = tasks.lease(a_grant(GroupKey(Lane.EVAL, 5, Draw(2)), (0, 1)))
    sampled = tasks.lease(a_grant(GroupKey(Lane.EVAL, 5, Draw(5)), (0, 1)))

    assert (greedy.sampling.temperature, sampled.sampling.temperature) == (0.0, 0.9)
    assert greedy.prompt.ground_truth == sampled.prompt.ground_truth == "30"
    assert greedy.round == 5


def test_every_round_of_evaluation_has_the_same_seeds(validation) -> None:
    tasks = Tasks(a_config(), None, validation)

    first, later = (tasks.lease(a_grant(GroupKey(Lane.EVAL, round_, Draw(1)), (0, 1))) for round_ in (0, 9))

    assert first.seeds == later.seeds


def test_an_evaluation_is_exact_whatever_training_allows(validation) -> None:
    tasks = Tasks(a_config("trainer.fully_async.max_staleness_steps=2"), None, validation)

    assert tasks.lease(a_grant(GroupKey(Lane.EVAL, 5, Draw(0)), (0,))).is_version_exact


def test_without_training_data_no_group_can_be_drawn(validation) -> None:
    with pytest.raises(ValueError, match=r"set data\.train_data"):
        Tasks(a_config(), None, validation).prompt(training(0))


def test_two_evaluation_sets_of_one_name_are_refused(validation) -> None:
    with pytest.raises(ValueError, match="have the same name"):
        Tasks(a_config(), None, [validation[0], validation[0]])
