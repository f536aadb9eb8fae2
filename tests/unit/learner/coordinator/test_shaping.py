"""Overlong samples: masked out of the loss, or punished before they are cut off; the journal keeps the truth."""

import numpy as np
import pytest
from unit.learner.coordinator.journal_builders import a_journal_sample, a_journal_step

from tetrad_config import RunConfig, load
from tetrad_learner.coordinator.rows import rows_of_ranks
from tetrad_learner.coordinator.shaping import OverlongPunishment, Shaping, shaping_of
from tetrad_wire.messages.leases import FinishReason


def a_config(*overrides: str) -> RunConfig:
    return load(list(overrides), environ={"HOME": "/home/ada"}).config


PUNISHED = Shaping(punishment=OverlongPunishment(max_tokens=8, buffer_tokens=4, factor=0.5))


@pytest.mark.parametrize(("num_sampled", "added"), [(1, 0.0), (4, 0.0), (5, -0.125), (6, -0.25), (8, -0.5), (12, -0.5)])
def test_the_punishment_grows_over_the_buffer_and_no_further(num_sampled: int, added: float) -> None:
    sample = a_journal_sample(0, 0, num_sampled=num_sampled, reward=1.0)

    assert PUNISHED.reward(sample) == pytest.approx(1.0 + added)
    assert sample.reward == 1.0


def test_a_sample_that_was_cut_off_is_not_trained_and_its_reward_still_counts() -> None:
    whole = a_journal_sample(0, 0, reward=1.0)
    cut_off = a_journal_sample(0, 1, reward=0.0, finish_reason=FinishReason.LENGTH)
    step = a_journal_step([whole, cut_off])

    (rows,) = rows_of_ranks(step, lineage=1, batch_hash="h", world_size=1, shaping=Shaping(is_overlong_masked=True))

    masks = np.split(rows.loss_mask, np.cumsum(rows.lengths)[:-1])
    assert [int(mask.sum()) for mask in masks] == [int(whole.loss_mask.sum()), 0]
    assert rows.rewards.tolist() == [1.0, 0.0]
    assert cut_off.loss_mask.any()


def test_without_a_wish_nothing_is_shaped() -> None:
    assert shaping_of(a_config()) == Shaping()


def test_the_run_file_s_wishes_are_read() -> None:
    config = a_config(
        "generator.apply_overlong_filtering=true",
        "generator.sampling_params.max_generate_length=100",
        "trainer.algorithm.overlong_buffer.enable=true",
        "trainer.algorithm.overlong_buffer.len=20",
        "trainer.algorithm.overlong_buffer.penalty_factor=2.0",
    )

    expected = OverlongPunishment(max_tokens=100, buffer_tokens=20, factor=2.0)
    assert shaping_of(config) == Shaping(is_overlong_masked=True, punishment=expected)
