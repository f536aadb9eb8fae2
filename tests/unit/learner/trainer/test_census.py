"""Denominators are counted over the whole mini-batch."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tetrad_algorithms.masking import reductions
from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.census import take_census, token_weights
from tetrad_learner.trainer.ranks import join


def test_the_census_counts_tokens_by_sample_whatever_their_order(
    lone_rank: None, a_batch: Callable[..., StepBatch]
) -> None:
    batch = a_batch(sample_index=[2, 0, 1], mini_batch=[1, 0, 0])

    census = take_census(batch, join(device="cpu", timeout_s=1.0))

    assert census.tokens_N.tolist() == [0, 2, 2]
    assert census.mini_batch_N.tolist() == [0, 0, 1]
    assert (census.num_mini_batches, census.num_tokens) == (2, 4)


def test_each_mini_batch_has_its_own_denominator(lone_rank: None, a_batch: Callable[..., StepBatch]) -> None:
    batch = a_batch(mini_batch=[0, 0, 1], loss_mask=[0, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1, 1])
    census = take_census(batch, join(device="cpu", timeout_s=1.0))

    weights = token_weights(census, batch=batch, reduction=reductions.get("token_mean"), max_sequence_tokens=0)

    torch.testing.assert_close(weights, torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64))
