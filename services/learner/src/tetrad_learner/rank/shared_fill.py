"""Filling rank 0's buffer takes all ranks: rank 0 first says whether it has one.

Without that word a rank 0 that finds no free segment would leave the others in a collective that nobody joins, and the
next order would meet them there.
"""

import threading
from typing import Protocol

import torch

from tetrad_learner.trainer.ranks import Ranks
from tetrad_weights.digest import Bytes


class Fillable(Protocol):
    """What is published."""

    def fill(self, buffer: Bytes | None) -> None:
        """Copy it into rank 0's buffer; collective."""
        ...


class SharedFill:
    """One filling; made anew for each."""

    def __init__(self, ranks: Ranks, exports: Fillable) -> None:
        self._ranks = ranks
        self._exports = exports
        self._lock = threading.Lock()
        self._is_settled = False

    def fill(self, buffer: Bytes) -> None:
        """On rank 0, from any thread: have the others join, and fill."""
        if not self._settle(will_fill=True):
            raise RuntimeError("the ranks were told that nothing will be filled")
        self._exports.fill(buffer)

    def give_up(self) -> None:
        """On rank 0, afterwards: release the others where nothing was filled."""
        self._settle(will_fill=False)

    def join(self) -> bool:
        """On every other rank: take part if rank 0 fills; return whether it does."""
        will_fill = bool(self._ranks.sum(torch.zeros(1, dtype=torch.int64)).item())
        if will_fill:
            self._exports.fill(None)
        return will_fill

    def _settle(self, *, will_fill: bool) -> bool:
        with self._lock:
            if self._is_settled:
                return False
            self._is_settled = True
        self._ranks.sum(torch.tensor([int(will_fill)]))
        return True
