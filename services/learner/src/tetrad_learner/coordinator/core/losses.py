"""Deaths of the ranks: how often in a row, and how many of them a run bears. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from tetrad_learner.coordinator.core.config import CoreConfig


@dataclass(slots=True)
class RankLosses:
    """Sets of ranks that were lost since the last new step or checkpoint."""

    config: CoreConfig
    num: int = 0

    def forget(self) -> None:
        """The run has got somewhere."""
        self.num = 0

    def excess(self, reason: str, *, step: int | None, attempts: Mapping[int, int]) -> str:
        """Count one set, lost in `step` if it executed one; return which bound that exceeds, empty if none."""
        self.num += 1
        if step is not None and attempts.get(step, 0) >= self.config.max_step_attempts:
            return f"the ranks died {attempts[step]} times in step {step}: {reason}"
        if self.num >= self.config.max_rank_losses:
            return f"the ranks died {self.num} times in a row and got nowhere: {reason}"
        return ""
