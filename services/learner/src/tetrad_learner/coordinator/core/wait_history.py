"""How long each wait usually is in this run, and when one is longer than that. Pure.

Memory is bounded: of each wait only the newest durations count.
"""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Final

from tetrad_learner.coordinator.core.waiting import Wait, WaitReason

MAX_KEPT: Final = 512
QUANTILE: Final = 0.99
# A wait below this is nobody's worry, however short it usually is.
FLOOR_S: Final = 10.0
# Said again when it has become this many times longer: a wait of a day is said a dozen times.
AGAIN: Final = 2.0
# Nobody can do anything about them, and nobody should be woken.
QUIET: Final = frozenset({WaitReason.OVER})


@dataclass(slots=True)
class WaitHistory:
    """The wait that goes on, and the durations of those before it."""

    current: Wait | None = None
    since: float = 0.0
    usual_s: float = FLOOR_S
    """Beyond this the current wait is long: the 99th percentile of its like, and at least the floor."""
    _durations: dict[WaitReason, deque[float]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=MAX_KEPT))
    )
    _say_at_s: float = FLOOR_S

    def see(self, wait: Wait, now: float) -> float | None:
        """Note what is waited for now; return how long the former wait was where this is another one."""
        ended = None
        if self.current is None or self.current.key != wait.key:
            if self.current is not None:
                ended = now - self.since
                self._durations[self.current.reason].append(ended)
            self.since = now
            self.usual_s = self._say_at_s = max(FLOOR_S, quantile(self._durations[wait.reason], QUANTILE))
        self.current = wait
        return ended

    def is_to_be_said(self, now: float) -> bool:
        """Whether the wait has just become longer than usual, or much longer again since it was said."""
        if self.current is None or self.current.reason in QUIET or now - self.since <= self._say_at_s:
            return False
        while now - self.since > self._say_at_s:
            self._say_at_s *= AGAIN
        return True


def quantile(values: "deque[float]", share: float) -> float:
    """Return the value below which this share of them lies; 0 of none.

    >>> quantile(deque([1.0, 2.0, 3.0]), 0.5)
    2.0
    >>> quantile(deque(), 0.99)
    0.0
    """
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
