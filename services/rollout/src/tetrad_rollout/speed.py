"""How fast a replica generates: tokens of the samples that finished lately.

Owns one window of seconds. A single look at the page shows a speed; a counter would take two.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

# Samples finish in bursts: a shorter look back would jump between 0 and too much.
WINDOW_S: Final = 15.0
# Tokens of so long are counted as one: memory is bounded however many samples finish.
GRAIN_S: Final = 0.25


class Speed:
    """Tokens in one second, over the last seconds; over the replica's life while that is shorter.

    >>> now = [0.0]
    >>> speed = Speed(lambda: now[0])
    >>> now[0] = 10.0
    >>> speed.add(300)
    >>> speed.tokens_per_s()
    30.0
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._added: deque[tuple[float, int]] = deque()

    def add(self, tokens: int) -> None:
        """A sample of so many sampled tokens has finished."""
        now = self._clock()
        if self._added and now - self._added[-1][0] < GRAIN_S:
            at, before = self._added.pop()
            self._added.append((at, before + tokens))
        else:
            self._added.append((now, tokens))
        self._forget(now)

    def tokens_per_s(self) -> float:
        """Return the speed; 0 where nothing finished within the window."""
        now = self._clock()
        self._forget(now)
        # Of a life shorter than a grain no speed can be told.
        span_s = max(min(now - self._began, WINDOW_S), GRAIN_S)
        return sum(tokens for _at, tokens in self._added) / span_s

    def _forget(self, now: float) -> None:
        while self._added and now - self._added[0][0] > WINDOW_S:
            self._added.popleft()
