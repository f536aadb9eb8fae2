"""The child's end of the lines: orders in, answers out.

The lines have a descriptor of their own: whatever NCCL or torch prints to standard output goes to the log instead.
"""

import os
import sys
from collections.abc import Callable, Iterator
from typing import IO, Final

from tetrad_runtime.orphans import follow_parent
from tetrad_weights.errors import SegmentAllocationError
from tetrad_weights.group_orders import Answer, At, Failed, Order, Phase, line_of, order_in

_STDOUT: Final = 1
_STDERR: Final = 2


class Lines:
    """One child's orders and answers."""

    def __init__(self, orders: IO[bytes], answers: IO[bytes]) -> None:
        self._orders = orders
        self._answers = answers
        self._at = At(phase=Phase.START)

    def obey(self, do: Callable[[Order], Answer | None]) -> None:
        """Answer each order until there are no more; one that fails ends it."""
        for order in self._received():
            try:
                answer = do(order)
            except Exception as error:  # torch and NCCL raise what they like; the service hears it in words
                self.say(self._failure(error))
                raise SystemExit(1) from error
            if answer is not None:
                self.say(answer)

    def at(self, phase: Phase, bucket: int = 0, num_buckets: int = 0) -> None:
        """Say what is about to be done."""
        self._at = At(phase=phase, bucket=bucket, num_buckets=num_buckets)
        self.say(self._at)

    def say(self, answer: Answer) -> None:
        """Write a line."""
        self._answers.write(line_of(answer))
        self._answers.flush()

    def _received(self) -> Iterator[Order]:
        for line in self._orders:
            yield order_in(line)

    def _failure(self, error: Exception) -> Failed:
        # torch's out-of-memory error, without importing torch for its name.
        is_short = isinstance(error, MemoryError | SegmentAllocationError) or "OutOfMemory" in type(error).__name__
        return Failed(at=self._at, reason=f"{type(error).__name__}: {error}"[:2000], is_short=is_short)


def open_lines() -> Lines:
    """Take over standard input and output; this process ends with the one that started it."""
    follow_parent()
    answers = os.fdopen(os.dup(_STDOUT), "wb")
    os.dup2(_STDERR, _STDOUT)
    return Lines(sys.stdin.buffer, answers)
