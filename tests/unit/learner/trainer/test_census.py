"""Denominators are counted over the whole mini-batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tetrad_algorithms.masking import reductions
from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.census import by_prompts, recount, take_census, token_weights
from tetrad_learner.trainer.errors import BatchError
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


def test_a_step_that_trains_nothing_is_refused(lone_rank: None, a_batch: Callable[..., StepBatch]) -> None:
    with pytest.raises(BatchError, match="none of the 3 samples of step 1 has a token to train on"):
        take_census(a_batch(loss_mask=[0] * 12), join(device="cpu", timeout_s=1.0))


def test_what_was_masked_since_is_no_longer_counted(lone_rank: None, a_batch: Callable[..., StepBatch]) -> None:
    ranks = join(device="cpu", timeout_s=1.0)
    census = take_census(a_batch(mini_batch=[0, 0, 1]), ranks)

    again = recount(census, a_batch(loss_mask=[0, 0, 0, 1] + [0] * 8), ranks)

    assert again.tokens_N.tolist() == [1, 0, 0]
    assert again.mini_batch_tokens.tolist() == [1, 0]
    assert again.num_mini_batches == 2


def test_the_critic_cuts_by_prompts_in_the_order_of_the_samples(
    lone_rank: None, a_batch: Callable[..., StepBatch]
) -> None:
    group = [7, 7, 3, 3, 3, 5]
    batch = a_batch(rewards=[0.0] * 6, group=group, sample_index=[0, 2, 5])
    others = a_batch(rewards=[0.0] * 6, group=group, sample_index=[1, 3, 4])
    whole = dataclasses.replace(
        batch,
        **{
            name: np.concatenate([getattr(batch, name), getattr(others, name)])
            for name in ("token_ids", "lengths", "loss_mask", "rollout_logprobs", "sample_index", "mini_batch")
        },
    )
    census = take_census(whole, join(device="cpu", timeout_s=1.0))

    assert by_prompts(census, whole, prompts=1).mini_batch_N.tolist() == [0, 0, 1, 1, 1, 2]
    assert by_prompts(census, whole, prompts=2).mini_batch_N.tolist() == [0, 0, 0, 0, 0, 1]
    assert by_prompts(census, whole, prompts=9).num_mini_batches == 1
