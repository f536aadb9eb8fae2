"""From a sealed step to what each rank gets: mini-batches cut by prompts, samples spread by length."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from tetrad_trajectories.journal import JournalSample, JournalStep
from tetrad_wire.messages.steps import ExecuteStep


def mini_batch_ends(samples: Sequence[JournalSample], *, prompts_per_mini_batch: int) -> tuple[int, ...]:
    """Cut the ordered samples after every so many prompts; return the position after each cut."""
    sizes = [len(list(group)) for _draw, group in groupby(samples, key=lambda sample: sample.draw)]
    ends = np.cumsum(sizes)[prompts_per_mini_batch - 1 :: prompts_per_mini_batch].tolist()
    return tuple(ends if ends and ends[-1] == len(samples) else [*ends, len(samples)])


def rows_of_ranks(step: JournalStep, *, lineage: int, batch_hash: str, world_size: int) -> list[ExecuteStep]:
    """Split a step over `world_size` ranks; every rank gets all rewards and its own samples."""
    samples = step.samples
    mini_batch = np.searchsorted(step.mini_batch_ends, np.arange(len(samples)), side="right").astype(np.int32)
    _draws, groups = np.unique([sample.draw for sample in samples], return_inverse=True)
    rewards = np.array([sample.reward_values.sum() for sample in samples], np.float32)
    owners = _owners([len(sample.token_ids) for sample in samples], mini_batch, world_size)
    return [
        _rows(step, np.flatnonzero(owners == rank), mini_batch, rewards, groups.astype(np.int32), lineage, batch_hash)
        for rank in range(world_size)
    ]


def _owners(lengths: Sequence[int], mini_batch: np.ndarray, world_size: int) -> np.ndarray:
    """Longest sample first, each to the rank with the fewest tokens, within each mini-batch."""
    owners = np.zeros(len(lengths), np.int32)
    for cut in np.unique(mini_batch):
        load = [0] * world_size
        members = np.flatnonzero(mini_batch == cut)
        for index in sorted(members.tolist(), key=lambda i: (-lengths[i], i)):
            rank = min(range(world_size), key=lambda r: (load[r], r))
            owners[index] = rank
            load[rank] += lengths[index]
    return owners


def _rows(
    step: JournalStep,
    mine: np.ndarray,
    mini_batch: np.ndarray,
    rewards: np.ndarray,
    groups: np.ndarray,
    lineage: int,
    batch_hash: str,
) -> ExecuteStep:
    samples = [step.samples[index] for index in mine]
    return ExecuteStep(
        step=step.step,
        lineage=lineage,
        batch_hash=batch_hash,
        token_ids=_joined([sample.token_ids for sample in samples], np.int32),
        lengths=np.array([len(sample.token_ids) for sample in samples], np.int32),
        loss_mask=_joined([sample.loss_mask for sample in samples], np.uint8),
        rollout_logprobs=_joined([sample.rollout_logprobs for sample in samples], np.float32),
        sample_index=mine.astype(np.int32),
        mini_batch=mini_batch[mine],
        rewards=rewards,
        groups=groups,
    )


def _joined(arrays: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *arrays]).astype(dtype)
