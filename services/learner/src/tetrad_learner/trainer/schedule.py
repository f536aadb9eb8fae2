"""The learning rate as a function of the optimizer step; the same numbers as transformers.get_scheduler."""

from __future__ import annotations

import math
from typing import assert_never

from tetrad_learner.trainer.options import OptimizerOptions, ScheduleKind


def learning_rate(options: OptimizerOptions, *, optimizer_step: int) -> float:
    """Return the rate of the optimizer step after `optimizer_step` others; with a warm-up the first is 0.

    >>> warm = OptimizerOptions(lr=1.0, num_warmup_steps=4)
    >>> [learning_rate(warm, optimizer_step=s) for s in range(6)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    if options.schedule is not ScheduleKind.CONSTANT and optimizer_step < options.num_warmup_steps:
        return options.lr * optimizer_step / options.num_warmup_steps
    return options.lr * _after_warmup(options, optimizer_step)


def check_schedule(options: OptimizerOptions) -> None:
    """Refuse a decaying schedule that does not know where it ends."""
    decays = options.schedule in {ScheduleKind.LINEAR, ScheduleKind.COSINE}
    if decays and options.num_training_steps <= options.num_warmup_steps:
        raise ValueError(
            f"schedule {options.schedule} needs num_training_steps above num_warmup_steps; "
            f"they are {options.num_training_steps} and {options.num_warmup_steps}"
        )


def _after_warmup(options: OptimizerOptions, optimizer_step: int) -> float:
    match options.schedule:
        case ScheduleKind.CONSTANT | ScheduleKind.CONSTANT_WITH_WARMUP:
            return 1.0
        case ScheduleKind.LINEAR:
            return max(0.0, 1.0 - _progress(options, optimizer_step))
        case ScheduleKind.COSINE:
            return 0.5 * (1.0 + math.cos(math.pi * min(1.0, _progress(options, optimizer_step))))
        case _:
            assert_never(options.schedule)


def _progress(options: OptimizerOptions, optimizer_step: int) -> float:
    return (optimizer_step - options.num_warmup_steps) / (options.num_training_steps - options.num_warmup_steps)
