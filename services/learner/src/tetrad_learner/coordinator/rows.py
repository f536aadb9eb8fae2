"""From a sealed step to what each rank gets: mini-batches cut by prompts, samples spread by length."""

from collections.abc import Sequence

import msgspec
import numpy as np

from tetrad_learner.coordinator.balancing import karmarkar_karp
from tetrad_learner.coordinator.shaping import UNSHAPED, Shaping
from tetrad_trajectories.journal import JournalStep, Place
from tetrad_wire.messages.steps import ExecuteStep


def mini_batch_ends(order: Sequence[Place], *, prompts_per_mini_batch: int) -> tuple[int, ...]:
    """Cut what is trained on after every so many groups, copies counted; return the position after each cut."""
    sizes = np.bincount([place.group for place in order])
    ends = np.cumsum(sizes)[prompts_per_mini_batch - 1 :: prompts_per_mini_batch].tolist()
    return tuple(ends if ends and ends[-1] == len(order) else [*ends, len(order)])


def rows_of_ranks(
    step: JournalStep, *, lineage: int, batch_hash: str, world_size: int, shaping: Shaping = UNSHAPED
) -> list[ExecuteStep]:
    """Split a step over `world_size` ranks; every rank gets all rewards and its own samples, both shaped.

    A copy of a group is a group like any other.
    """
    order = step.places
    samples = [place.sample for place in order]
    mini_batch = np.searchsorted(step.mini_batch_ends, np.arange(len(samples)), side="right").astype(np.int32)
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
        groups=np.array([place.group for place in order], np.int32),
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
