"""Which micro-batches a rank goes through, mini-batch by mini-batch. Every rank has the same number of each."""

from __future__ import annotations

import torch

from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.options import TrainerOptions
from tetrad_learner.trainer.packing import MicroBatch, MicroBatchLimits, empty_micro_batch, micro_batches
from tetrad_learner.trainer.ranks import Ranks

Plan = list[list[MicroBatch]]
"""Micro-batches of each mini-batch; none where a mini-batch has no trained token on any rank."""


def make_plan(batch: StepBatch, *, num_mini_batches: int, limits: MicroBatchLimits, ranks: Ranks) -> Plan:
    """Cut every mini-batch; ranks with fewer micro-batches get empty ones, for the collectives' sake; collective."""
    plan = [micro_batches(batch, mini_batch=m, limits=limits) for m in range(num_mini_batches)]
    most_M = ranks.max(torch.tensor([len(micros) for micros in plan])).tolist()
    return [micros + [empty_micro_batch()] * (most - len(micros)) for micros, most in zip(plan, most_M, strict=True)]


def train_limits(options: TrainerOptions) -> MicroBatchLimits:
    """Limits of a forward and backward pass."""
    return _limits(options, options.micro_train_batch_size)


def forward_limits(options: TrainerOptions) -> MicroBatchLimits:
    """Limits of a pass without gradient."""
    return _limits(options, options.micro_forward_batch_size or options.micro_train_batch_size)


def _limits(options: TrainerOptions, max_samples: int) -> MicroBatchLimits:
    if max_samples < 1:
        raise ValueError(f"a micro-batch of {max_samples} samples trains nothing; the size must be at least 1")
    return MicroBatchLimits(
        max_samples=max_samples, max_tokens=options.max_tokens_per_micro_batch, layout=options.row_layout
    )
