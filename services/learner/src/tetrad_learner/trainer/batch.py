"""The batch of one training step as a rank receives it: arrays only, checked once.

Owns what a well-formed batch is. Must not know where it came from (wire, journal, test) nor what is done with it.
"""

# S samples of this rank · T their tokens, end to end · N samples of the step, on all ranks

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tetrad_learner.trainer.errors import BatchError, NonFiniteError

DTYPES: Final = {
    "token_ids": np.int32,
    "lengths": np.int32,
    "loss_mask": np.uint8,
    "rollout_logprobs": np.float32,
    "sample_index": np.int32,
    "mini_batch": np.int32,
    "rewards": np.float32,
    "group": np.int32,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepBatch:
    """One training step: this rank's samples, and the rewards of all."""

    token_ids: NDArray[np.int32]
    """int32[T]: prompt and response of each sample, end to end."""
    lengths: NDArray[np.int32]
    """int32[S]: tokens of each sample."""
    loss_mask: NDArray[np.uint8]
    """uint8[T]: 1 where the policy sampled the token and is trained on it."""
    rollout_logprobs: NDArray[np.float32]
    """float32[T]: log-probability that the rollout engine gave each token; 0 where not sampled."""
    sample_index: NDArray[np.int32]
    """int32[S]: index of each sample in the step's ordered batch, 0 … N−1; each on exactly one rank."""
    mini_batch: NDArray[np.int32]
    """int32[S]: to which optimizer step of an epoch each sample belongs, counted from 0."""
    rewards: NDArray[np.float32]
    """float32[N]: total reward of every sample of the step."""
    group: NDArray[np.int32]
    """int32[N]: prompt group of every sample; equal numbers are siblings."""
    step: int
    """Training step, counted from 1."""
    lineage: int
    """Lineage of the ledger that executes it."""
    update_epochs: int = 1
    """Passes over the batch."""

    def __post_init__(self) -> None:
        _check_arrays(self)
        _check_samples(self)
        _check_finite(self)

    @property
    def num_samples(self) -> int:
        """Samples of this rank."""
        return len(self.lengths)

    @property
    def num_samples_everywhere(self) -> int:
        """Samples of the step on all ranks."""
        return len(self.rewards)

    @property
    def offsets(self) -> NDArray[np.int64]:
        """int64[S + 1]: where each sample begins in the token arrays."""
        return np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])

    @property
    def sample_of_token(self) -> NDArray[np.int32]:
        """int32[T]: index in the step's batch of the sample that each token belongs to."""
        return np.repeat(self.sample_index, self.lengths)

    @property
    def trained_tokens(self) -> NDArray[np.int64]:
        """int64[S]: tokens of each sample that are trained on."""
        owner = np.repeat(np.arange(self.num_samples), self.lengths)
        return np.bincount(owner[self.loss_mask == 1], minlength=self.num_samples).astype(np.int64)

    def digest(self) -> bytes:
        """16 bytes over all that every rank must see alike."""
        state = hashlib.blake2b(digest_size=16)
        state.update(repr((self.step, self.lineage, self.update_epochs, len(self.rewards))).encode())
        state.update(np.ascontiguousarray(self.rewards).tobytes())
        state.update(np.ascontiguousarray(self.group).tobytes())
        return state.digest()


def _check_arrays(batch: StepBatch) -> None:
    for name, dtype in DTYPES.items():
        array = getattr(batch, name)
        if array.dtype != dtype or array.ndim != 1:
            raise BatchError(f"{name} is {array.dtype}[{array.ndim} axes]; it must be {np.dtype(dtype)} with one axis")
    for names in (("token_ids", "loss_mask", "rollout_logprobs"), ("lengths", "sample_index", "mini_batch")):
        sizes = {name: len(getattr(batch, name)) for name in names}
        if len(set(sizes.values())) > 1:
            raise BatchError(f"arrays of different length: {sizes}")
    if len(batch.rewards) != len(batch.group):
        raise BatchError(f"{len(batch.rewards)} rewards but {len(batch.group)} group numbers")
    if batch.update_epochs < 1:
        raise BatchError(f"update_epochs is {batch.update_epochs}; it must be at least 1")


def _check_samples(batch: StepBatch) -> None:
    if batch.num_samples == 0:
        return
    if batch.lengths.min() < 1 or int(batch.lengths.sum(dtype=np.int64)) != len(batch.token_ids):
        raise BatchError(f"lengths sum to {batch.lengths.sum(dtype=np.int64)}; there are {len(batch.token_ids)} tokens")
    if not 0 <= batch.sample_index.min() <= batch.sample_index.max() < len(batch.rewards):
        raise BatchError(f"sample_index must lie in 0 … {len(batch.rewards) - 1}, found {batch.sample_index.max()}")
    if batch.loss_mask.max() > 1 or batch.mini_batch.min() < 0 or batch.token_ids.min() < 0:
        raise BatchError("loss_mask must be 0 or 1; mini_batch and token_ids must not be negative")
    first = batch.loss_mask[batch.offsets[:-1]]
    if first.any():
        sample = int(batch.sample_index[first.argmax()])
        raise BatchError(f"sample {sample} trains its first token, which nothing comes before; mask it")


def _check_finite(batch: StepBatch) -> None:
    for name in ("rewards", "rollout_logprobs"):
        values = getattr(batch, name)
        bad = values[~np.isfinite(values)]
        if len(bad):
            raise NonFiniteError(what=name, value=float(bad[0]), step=batch.step, mini_batch=-1)
