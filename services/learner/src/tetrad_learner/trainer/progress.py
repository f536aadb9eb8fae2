"""Progress of a training step, micro-batch by micro-batch: what keeps a rank from being taken for dead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What a rank is busy with."""

    REFERENCE_LOGPROBS = "reference_logprobs"
    OLD_LOGPROBS = "old_logprobs"
    VALUES = "values"
    CRITIC_FORWARD_BACKWARD = "critic_forward_backward"
    CRITIC_OPTIMIZER = "critic_optimizer"
    FORWARD_BACKWARD = "forward_backward"
    OPTIMIZER = "optimizer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One micro-batch more is done."""

    phase: Phase
    done: int
    """Micro-batches of this phase done by this rank."""
    total: int
    """Micro-batches of this phase in all, all update epochs included."""


OnProgress = Callable[[Progress], None]


class Reporter:
    """Counts the micro-batches of a phase and passes them on."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._phase, self._done, self._total = Phase.FORWARD_BACKWARD, 0, 0

    @contextmanager
    def phase(self, phase: Phase, *, total: int) -> Iterator[None]:
        """Count anew, up to `total`, within the body."""
        self._phase, self._done, self._total = phase, 0, total
        yield

    def micro_batch(self) -> None:
        """Report that another micro-batch is done."""
        self._done += 1
        self._on_progress(Progress(phase=self._phase, done=self._done, total=self._total))
