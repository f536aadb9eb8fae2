"""What was dropped since the last sealed step, and how much of it a run bears. Pure."""

from dataclasses import dataclass
from typing import assert_never

from tetrad_learner.coordinator.core.config import CoreConfig
from tetrad_learner.coordinator.core.tables import DropReason


@dataclass(slots=True)
class DropAccount:
    """Groups dropped on the way to the next step; what failed and what taught nothing have bounds of their own."""

    config: CoreConfig
    num_failed: int = 0
    """Groups that could not be had; forgotten with a restart."""
    num_filtered: int = 0
    """Groups that dynamic sampling has refused; durable, so that no restart draws more than the bound."""
    last: str = ""
    """Why the last one was dropped."""

    @property
    def num_lost(self) -> int:
        """Groups that were drawn for the next step, and are not in it."""
        return self.num_failed + self.num_filtered

    def count(self, reason: DropReason, detail: str) -> None:
        """Count one group."""
        self.last = f"{reason.value}: {detail}" if detail else reason.value
        match reason:
            case DropReason.FILTERED:
                self.num_filtered += 1
            case DropReason.GROUP_INCOMPLETE | DropReason.STALE | DropReason.GRADER_GONE:
                self.num_failed += 1
            case DropReason.REPLACED | DropReason.END_OF_RUN | DropReason.SKIPPED:
                pass
            case _:
                assert_never(reason)

    def clear(self) -> None:
        """A step is sealed."""
        self.num_failed = self.num_filtered = 0

    def excess(self, reason: DropReason, detail: str, *, sealed: int) -> str:
        """Which bound the last drops, for `reason`, have exceeded, with the numbers; empty if none."""
        config = self.config
        if reason is DropReason.FILTERED and self.num_filtered > config.max_filtered >= 0:
            return (
                f"dynamic sampling ({config.sampling.value}) found no batch for step {sealed + 1}: "
                f"{self.num_filtered} groups were filtered, the last because {detail}; "
                f"trainer.algorithm.dynamic_sampling.max_sample_batches={config.max_sample_batches} of "
                f"{config.batch_size} groups allows {config.max_filtered}: raise it, or choose data on which the "
                "rewards of a prompt differ more often"
            )
        if reason is not DropReason.FILTERED and self.num_failed > config.max_drops_per_step:
            return (
                f"{self.num_failed} groups dropped since step {sealed}; the limit is "
                f"{config.max_drops_per_step}; the last: {reason.value} {detail}"
            )
        return ""
