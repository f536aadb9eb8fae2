"""How long a run waits for an engine that serves, and what it does then. Pure."""

from dataclasses import dataclass

from tetrad_learner.coordinator.core.config import CoreConfig
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.membership import RunState

Change = tuple[RunState, str]
"""What the run becomes, and why."""


@dataclass(slots=True)
class Patience:
    """The wait for a certified engine."""

    config: CoreConfig
    since: float | None = None
    """When it began, or nobody waited the last time; None before anybody has looked."""
    is_exhausted: bool = False
    """No engine has served for so long that the run saves what it has and fails."""

    def renew(self, now: float, *, state: RunState) -> Change | None:
        """Nobody waits: an engine serves, or none is needed."""
        self.since, self.is_exhausted = now, False
        return (RunState.RUNNING, "an engine is certified again") if state is RunState.STALLED else None

    def judge(self, now: float, *, state: RunState, version: PolicyVersion, is_all_saved: bool) -> Change | None:
        """What becomes of a run that waits, and why; None while it goes on as it is."""
        self.since = now if self.since is None else self.since
        waited, limit_s = now - self.since, self.config.stall_timeout_s
        if waited > limit_s:
            self.is_exhausted = True
            # What the ranks have learned is saved first; for that they get as long again.
            if is_all_saved or waited > 2 * limit_s:
                return RunState.FAILED, f"no engine certified for version {version} within {limit_s:g} s"
        elif waited > 3 * self.config.liveness_s and state is RunState.RUNNING:
            return RunState.STALLED, f"no engine is certified for version {version}"
        return None
