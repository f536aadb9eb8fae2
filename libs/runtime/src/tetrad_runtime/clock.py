"""Time as a thing that is passed in, so that tests own it.

Owns nothing. Seconds are monotonic: only differences mean anything, and only inside one process.
"""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Where components read the time and wait."""

    def now(self) -> float:
        """Return seconds from an arbitrary start; never goes back."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Wait for at least `delay_s` seconds."""
        ...


class MonotonicClock:
    """The real clock."""

    def now(self) -> float:
        """Return the system's monotonic time in seconds."""
        return time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        """Wait on the running event loop."""
        await asyncio.sleep(delay_s)
