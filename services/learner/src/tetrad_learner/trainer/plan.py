"""Which micro-batches a rank goes through, mini-batch by mini-batch. Every rank has the same number of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.options import TrainerOptions
from tetrad_learner.trainer.packing import MicroBatch, MicroBatchLimits, empty_micro_batch, micro_batches
from tetrad_learner.trainer.ranks import Ranks


class MicroBatchSize:
    """How large the micro-batches of one kind of pass may be; once lowered, it stays so."""

    def __init__(self, limits: MicroBatchLimits) -> None:
        self.limits = limits

    @property
    def counts_tokens(self) -> bool:
        """Whether tokens, not samples, decide."""
        return self.limits.max_tokens is not None

    @property
    def limit(self) -> int:
        """Most tokens, where these decide; else most samples."""
        return self.limits.max_samples if self.limits.max_tokens is None else self.limits.max_tokens

    def lower(self, micros: Sequence[MicroBatch]) -> tuple[int, int] | None:
        """Bring the limit to half of the largest of `micros`; return that one's size and the limit.

        None where each is a single sample, so that nothing can be lowered.
        """
        if max((micro.num_samples for micro in micros), default=0) < 2:
            return None
        if self.counts_tokens:
            before = max(micro.input_ids.size for micro in micros if micro.num_samples > 1)
            self.limits = replace(self.limits, max_tokens=max(1, before // 2))
        else:
            before = max(micro.num_samples for micro in micros)
            # A divisor of what was asked for: only such sizes may stand in a run file.
            most = self.limits.max_samples
            fitting = next(size for size in range(before // 2, 0, -1) if most % size == 0)
            self.limits = replace(self.limits, max_samples=fitting)
        return before, self.limit


class Plan:
    """The micro-batches of each mini-batch of a batch; none where it has no trained token on any rank."""

    def __init__(self, batch: StepBatch, *, num_mini_batches: int, size: MicroBatchSize, ranks: Ranks) -> None:
        self.size = size
        self._batch, self._ranks = batch, ranks
        self._micros = self._cut(range(num_mini_batches))

    def __len__(self) -> int:
        """Mini-batches."""
        return len(self._micros)

    def __getitem__(self, mini_batch: int) -> list[MicroBatch]:
        """Return the micro-batches of a mini-batch."""
        return self._micros[mini_batch]

    def __iter__(self) -> Iterator[list[MicroBatch]]:
        """Yield them, mini-batch by mini-batch."""
        return iter(self._micros)

    @property
    def all(self) -> list[MicroBatch]:
        """The micro-batches of all mini-batches."""
        return [micro for micros in self._micros for micro in micros]

    def cut_again(self) -> None:
        """Cut every mini-batch by the size as it is now; collective."""
        self._micros = self._cut(range(len(self._micros)))

    def _cut(self, mini_batches: Sequence[int]) -> list[list[MicroBatch]]:
        """Ranks with fewer micro-batches get empty ones, for the collectives' sake."""
        limits = self.size.limits
        cut = [micro_batches(self._batch, mini_batch=m, limits=limits) for m in mini_batches]
        most_M = self._ranks.max(torch.tensor([len(micros) for micros in cut])).tolist()
        return [micros + [empty_micro_batch()] * (most - len(micros)) for micros, most in zip(cut, most_M, strict=True)]


def train_size(options: TrainerOptions) -> MicroBatchSize:
    """Limits of a forward and backward pass."""
    return _size(options, options.micro_train_batch_size)


def forward_size(options: TrainerOptions) -> MicroBatchSize:
    """Limits of a pass without gradient."""
    return _size(options, options.micro_forward_batch_size or options.micro_train_batch_size)


def _size(options: TrainerOptions, max_samples: int) -> MicroBatchSize:
    if max_samples < 1:
        raise ValueError(f"a micro-batch of {max_samples} samples trains nothing; the size must be at least 1")
    return MicroBatchSize(
        MicroBatchLimits(
            max_samples=max_samples, max_tokens=options.max_tokens_per_micro_batch, layout=options.row_layout
        )
    )
