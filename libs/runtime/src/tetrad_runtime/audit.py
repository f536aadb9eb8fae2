"""The audit log of a process: what its sockets turned away, as log lines of bounded rate.

Owns the budget of lines. A stranger at the door decides how much there is to tell, so what exceeds the budget is
counted and told in the next line; `tetrad_zmq_refusals_total` counts all.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tetrad_telemetry.logs import get_logger
from tetrad_transport.refusal import Reason, Refusal

# Lines of each reason in each period.
MAX_LINES: Final = 10
PERIOD_S: Final = 10.0

log = get_logger("tetrad.audit")


@dataclass(slots=True)
class _Budget:
    """Of one reason."""

    began_at: float = 0.0
    lines: int = 0
    untold: int = 0


@dataclass(slots=True, eq=False)
class Audit:
    """One per process."""

    clock: Callable[[], float] = time.monotonic
    _budgets: dict[Reason, _Budget] = field(default_factory=lambda: {reason: _Budget() for reason in Reason})

    def note(self, refusal: Refusal) -> None:
        """Tell of a refusal, unless there were too many of its kind."""
        budget, now = self._budgets[refusal.reason], self.clock()
        if now - budget.began_at >= PERIOD_S:
            budget.began_at, budget.lines = now, 0
        if budget.lines >= MAX_LINES:
            budget.untold += 1
            return
        budget.lines += 1
        untold, budget.untold = budget.untold, 0
        log.warning(
            "peer_refused",
            reason=refusal.reason.value,
            endpoint=refusal.endpoint,
            detail=refusal.detail,
            address=refusal.address,
            key=refusal.key,
            key_name=refusal.key_name,
            untold=untold,
        )
