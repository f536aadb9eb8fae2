"""A clock that stands still until a test moves it.

Owns the sleepers. Satisfies `tetrad_runtime.clock.Clock`.
"""

import asyncio
import heapq
from itertools import count


class FakeClock:
    """Time for tests: `advance` wakes every sleeper whose moment has come, in order."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    @property
    def sleepers(self) -> int:
        """How many tasks wait on this clock."""
        return sum(not future.done() for _, _, future in self._sleepers)

    def now(self) -> float:
        """Return the present time in seconds."""
        return self._now_s

    async def sleep(self, delay_s: float) -> None:
        """Wait until the test has advanced the clock by `delay_s`."""
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now_s + delay_s, next(self._order), future))
        await future

    def advance(self, delay_s: float) -> None:
        """Move time on; tasks that wake run at the test's next await."""
        if delay_s < 0:
            raise ValueError(f"time does not go back: {delay_s}")
        self._now_s += delay_s
        while self._sleepers and self._sleepers[0][0] <= self._now_s:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)

    async def settle(self, turns: int = 20) -> None:
        """Let tasks that woke run until they wait again."""
        for _ in range(turns):
            await asyncio.sleep(0)
