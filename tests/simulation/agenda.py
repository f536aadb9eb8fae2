"""Virtual time: what happens next, and nothing in between."""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Agenda:
    """Actions by time; equal times keep the order they were put in."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def after(self, delay_s: float, action: Callable[..., None], *args: Any) -> None:
        """Call `action(*args)` once `delay_s` have passed."""
        self._count += 1
        heappush(self._due, (self.now + delay_s, self._count, action, args))

    def run(self, *, until_s: float, is_over: Callable[[], bool]) -> None:
        """Act until it is over, nothing is left, or time is up."""
        while self._due and not is_over():
            at, _order, action, args = heappop(self._due)
            if at > until_s:
                return
            self.now = at
            action(*args)
