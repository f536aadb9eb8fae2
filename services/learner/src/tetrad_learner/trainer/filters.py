"""Masks that are known before anything is computed: groups that teach nothing. Pure numpy."""

# N samples of the step · P prompt groups

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from tetrad_learner.trainer.batch import StepBatch


def flat_samples(batch: StepBatch) -> NDArray[np.bool_]:
    """bool[N]: samples whose group has two or more members with one reward. A group of one is no such group."""
    _, group_N, size_P = np.unique(batch.group, return_inverse=True, return_counts=True)
    top_P, bottom_P = np.full(len(size_P), -np.inf), np.full(len(size_P), np.inf)
    np.maximum.at(top_P, group_N, batch.rewards)
    np.minimum.at(bottom_P, group_N, batch.rewards)
    flat_P: NDArray[np.bool_] = (size_P > 1) & (top_P == bottom_P)
    return flat_P[group_N]


def without_flat_groups(batch: StepBatch) -> StepBatch:
    """Mask every token of groups whose rewards are all equal (SkyRL's zero_variance_filter)."""
    flat_S = flat_samples(batch)[batch.sample_index]
    return masked(batch, keep_T=~np.repeat(flat_S, batch.lengths))


def masked(batch: StepBatch, *, keep_T: NDArray[np.bool_]) -> StepBatch:
    """Return the batch with a loss mask that is 0 wherever `keep_T` is unset."""
    return dataclasses.replace(batch, loss_mask=(batch.loss_mask * keep_T).astype(np.uint8))
