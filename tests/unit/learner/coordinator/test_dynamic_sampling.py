"""No knob of dynamic sampling is dead: from the run file to what a step is trained on, each changes what happens."""

import pytest
from unit.learner.coordinator.core.core_harness import Harness

from tetrad_config import load
from tetrad_learner.coordinator.compose import core_config
from tetrad_learner.coordinator.core import effects as ef

SECTION = "trainer.algorithm.dynamic_sampling"
BATCH = (
    "+experiment=demo",
    "trainer.train_batch_size=4",
    "trainer.policy_mini_batch_size=4",
    "generator.n_samples_per_prompt=2",
)
# Of each draw: one of four teaches something.
REWARDS = ((1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (0.0, 0.0)) * 4


def journals(run: Harness) -> list[ef.Journal]:
    return [effect for effect in run.effects if isinstance(effect, ef.Journal)]


def outcome(*overrides: str) -> tuple[object, ...]:
    """What comes of sixteen draws: the batch of the first step and its copies, how the run is, and every drop."""
    run = Harness()
    run.config = core_config(load([*BATCH, *overrides], environ={}).config, num_steps=1)
    run.restart()
    run.begin()
    run.certify(credit=64)
    for draw, rewards in enumerate(REWARDS):
        if draw in run.image.groups and not journals(run) and not run.core.state.is_over:
            run.grade(draw, *rewards)
    batch = [(journal.draws, journal.multiplicities) for journal in journals(run)]
    drops = [group.reason for group in run.image.groups.values()]
    return batch, run.core.state, drops


@pytest.mark.parametrize(
    ("key", "values", "base"),
    [
        ("type", ("null", "filter", "replace"), ("min_replace_ratio=0.25",)),
        ("max_sample_batches", ("-1", "2", "3"), ("type=filter",)),
        ("max_sample_batches", ("-1", "2", "3"), ("type=replace", "min_replace_ratio=0.5")),
        ("min_replace_ratio", ("0.25", "0.3"), ("type=replace",)),
    ],
)
def test_every_value_of_a_key_ends_differently(key: str, values: tuple[str, ...], base: tuple[str, ...]) -> None:
    asked = [[f"{SECTION}.{setting}" for setting in (*base, f"{key}={value}")] for value in values]

    outcomes = [outcome(*overrides) for overrides in asked]

    assert all(one != other for place, one in enumerate(outcomes) for other in outcomes[:place]), outcomes


def test_the_defaults_are_skyrls() -> None:
    config = core_config(load(BATCH, environ={}).config, num_steps=1)

    assert (config.sampling, config.max_sample_batches, config.min_replace_ratio) == ("keep", 30, 0.3)
