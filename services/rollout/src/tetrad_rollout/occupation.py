"""Where a replica's time goes: work under way, nothing to do, or no engine to do it with.

Owns one clock. Whoever causes a change says so; nothing is sampled.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class Occupation(StrEnum):
    """What a replica is doing."""

    BUSY = "busy"
    """It holds leases."""
    PAUSED = "paused"
    """The engine is switched to newer weights, or asleep."""
    IDLE = "idle"
    """It holds none."""


class OccupationClock:
    """Adds up seconds by state; a pause counts as one whether leases are held or not."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._num_leases = 0
        self._num_pauses = 0
        self._is_asleep = False
        self._spent = dict.fromkeys(Occupation, 0.0)

    @property
    def state(self) -> Occupation:
        """What the replica is doing now."""
        if self._num_pauses or self._is_asleep:
            return Occupation.PAUSED
        return Occupation.BUSY if self._num_leases else Occupation.IDLE

    def hold(self, num_leases: int) -> None:
        """So many leases are held from now on."""
        self._settle()
        self._num_leases = num_leases

    def sleep(self, *, is_asleep: bool) -> None:
        """The engine has lent its memory to others, or has it back."""
        self._settle()
        self._is_asleep = is_asleep

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The engine does nothing within the block."""
        self._settle()
        self._num_pauses += 1
        try:
            yield
        finally:
            self._settle()
            self._num_pauses -= 1

    def spent(self) -> dict[Occupation, float]:
        """Return the seconds by state since the last call."""
        self._settle()
        spent, self._spent = self._spent, dict.fromkeys(Occupation, 0.0)
        return spent

    def _settle(self) -> None:
        now = self._clock()
        self._spent[self.state] += now - self._since
        self._since = now
