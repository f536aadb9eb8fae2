"""Groups that teach nothing lose their loss mask."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.filters import flat_samples, masked, without_flat_groups

Builder = Callable[..., StepBatch]


def test_only_groups_of_equal_rewards_are_flat(a_batch: Builder) -> None:
    batch = a_batch(rewards=[1.0, 1.0, 0.5, 0.7, 0.3], group=[4, 4, 2, 2, 9])

    assert flat_samples(batch).tolist() == [True, True, False, False, False]


def test_a_flat_group_is_masked_and_the_rest_stays(a_batch: Builder) -> None:
    batch = a_batch(rewards=[0.0, 1.0, 0.0], group=[0, 1, 0])

    filtered = without_flat_groups(batch)

    assert filtered.trained_tokens.tolist() == [0, 0, 0]
    assert batch.trained_tokens.tolist() == [2, 0, 2]


def test_a_group_of_one_is_kept(a_batch: Builder) -> None:
    batch = a_batch(rewards=[1.0, 1.0, 1.0], group=[0, 1, 2])

    assert without_flat_groups(batch).trained_tokens.tolist() == batch.trained_tokens.tolist()


def test_siblings_on_other_ranks_count(a_batch: Builder) -> None:
    """This rank holds samples 3, 4 and 0 of six; the groups are those of the whole step."""
    batch = a_batch(sample_index=[3, 4, 0], rewards=[1.0, 1.0, 2.0, 2.0, 2.0, 0.0], group=[0, 0, 1, 1, 2, 2])

    assert without_flat_groups(batch).trained_tokens.tolist() == [0, 0, 0]
    assert flat_samples(batch).tolist() == [True, True, True, True, False, False]


def test_masking_adds_no_token(a_batch: Builder) -> None:
    batch = a_batch()

    assert np.array_equal(masked(batch, keep_T=np.ones(12, dtype=bool)).loss_mask, batch.loss_mask)
    assert not masked(batch, keep_T=np.zeros(12, dtype=bool)).loss_mask.any()
