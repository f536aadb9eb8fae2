"""From a sealed step to what each rank gets: mini-batches cut by prompts, samples spread by length."""

from collections.abc import Sequence
from itertools import groupby

import msgspec
import numpy as np

from tetrad_learner.coordinator.balancing import karmarkar_karp
from tetrad_learner.coordinator.shaping import UNSHAPED, Shaping
from tetrad_trajectories.journal import JournalSample, JournalStep
from tetrad_wire.messages.steps import ExecuteStep


def mini_batch_ends(samples: Sequence[JournalSample], *, prompts_per_mini_batch: int) -> tuple[int, ...]:
    """Cut the ordered samples after every so many prompts; return the position after each cut."""
    sizes = [len(list(group)) for _draw, group in groupby(samples, key=lambda sample: sample.draw)]
    ends = np.cumsum(sizes)[prompts_per_mini_batch - 1 :: prompts_per_mini_batch].tolist()
    return tuple(ends if ends and ends[-1] == len(samples) else [*ends, len(samples)])


def rows_of_ranks(
    step: JournalStep, *, lineage: int, batch_hash: str, world_size: int, shaping: Shaping = UNSHAPED
) -> list[ExecuteStep]:
    """Split a step over `world_size` ranks; every rank gets all rewards and its own samples, both shaped."""
    samples = step.samples
    mini_batch = np.searchsorted(step.mini_batch_ends, np.arange(len(samples)), side="right").astype(np.int32)
    _draws, groups = np.unique([sample.draw for sample in samples], return_inverse=True)
    whole = ExecuteStep(
        step=step.step,
        lineage=lineage,
        batch_hash=batch_hash,
        token_ids=_joined([sample.token_ids for sample in samples], np.int32),
        lengths=np.array([len(sample.token_ids) for sample in samples], np.int32),
        loss_mask=_joined([shaping.loss_mask(sample) for sample in samples], np.uint8),
        rollout_logprobs=_joined([sample.rollout_logprobs for sample in samples], np.float32),
        sample_index=np.arange(len(samples), dtype=np.int32),
        mini_batch=mini_batch,
        rewards=np.array([shaping.reward(sample) for sample in samples], np.float32),
        groups=groups.astype(np.int32),
    )
    owners = _owners(whole.lengths.tolist(), mini_batch, world_size)
    return [_share(whole, owners == rank) for rank in range(world_size)]


def _share(whole: ExecuteStep, is_mine: np.ndarray) -> ExecuteStep:
    """What one rank gets: some samples whole, and what every rank must know."""
    is_my_token = np.repeat(is_mine, whole.lengths)
    return msgspec.structs.replace(
        whole,
        token_ids=whole.token_ids[is_my_token],
        lengths=whole.lengths[is_mine],
        loss_mask=whole.loss_mask[is_my_token],
        rollout_logprobs=whole.rollout_logprobs[is_my_token],
        sample_index=whole.sample_index[is_mine],
        mini_batch=whole.mini_batch[is_mine],
    )


def _owners(costs: Sequence[int], mini_batch: np.ndarray, world_size: int) -> np.ndarray:
    """Which rank gets each sample: within each mini-batch all ranks get nearly the same tokens."""
    owners = np.zeros(len(costs), np.int32)
    for cut in np.unique(mini_batch):
        members = np.flatnonzero(mini_batch == cut)
        owners[members] = karmarkar_karp([costs[index] for index in members.tolist()], num_parts=world_size)
    return owners


def _joined(arrays: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *arrays]).astype(dtype)
