"""When a checkpoint is due, and how often in a row none could be written. Pure."""

from dataclasses import dataclass
from typing import Final

from tetrad_learner.coordinator.core.steps import StepBook

RETRY_S: Final = 2.0


@dataclass(slots=True)
class SaveAttempts:
    """Checkpoints that were begun and did not become whole, since the last that did."""

    num_failed: int = 0
    not_before: float = 0.0
    """A full disk is not asked again at once."""

    def fail(self) -> int:
        """Count one more; return how many there are."""
        self.num_failed += 1
        return self.num_failed

    def wait(self, now: float) -> None:
        """Begin no other one for a while."""
        self.not_before = now + RETRY_S

    def succeed(self) -> None:
        """One is whole."""
        self.num_failed = 0


def is_all_saved(steps: StepBook) -> bool:
    """Whether a checkpoint now would hold nothing new, or there are no ranks to write one."""
    has_new = steps.executed > steps.covered and steps.executed >= steps.replay_until
    return not has_new or not steps.are_ranks_ready


def is_due(steps: StepBook, *, interval: int, is_last: bool) -> bool:
    """Whether the last step is executed, or a multiple of the interval lies between what is saved and is executed.

    Where a checkpoint failed or was lost with its ranks, so does the next step: it is made up for at once.
    """
    saved = steps.covered if steps.saving is None else steps.saving
    if steps.executed <= saved or steps.executed < steps.replay_until:
        return False
    return is_last or (interval > 0 and steps.executed // interval > saved // interval)
