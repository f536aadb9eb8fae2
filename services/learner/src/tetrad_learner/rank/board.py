"""Where the ranks of a self-test leave a text each under a name, and read those of all."""

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import msgspec
from torch.distributed.distributed_c10d import PrefixStore, Store

from tetrad_runtime.exits import MachineFault

# Another host starts its ranks when it hears of them, and imports torch from a cold disk.
ARRIVAL_TIMEOUT_S: Final = 180.0


class SelfTestError(MachineFault):
    """The ranks cannot work together; the text says who, where and why."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("the self-test of the ranks failed:\n" + "\n".join(f"  {problem}" for problem in problems))
        self.problems = tuple(problems)


class Board:
    """Seen from one rank."""

    def __init__(self, store: Store, *, rank: int, world_size: int) -> None:
        self._store = PrefixStore("self-test", store)
        self._rank = rank
        self._world_size = world_size

    def exchange(
        self, name: str, mine: msgspec.Struct | tuple[object, ...], *, timeout_s: float = ARRIVAL_TIMEOUT_S
    ) -> list[bytes]:
        """Return what all ranks have left under a name; raise SelfTestError naming those that did not come."""
        keys = [f"{name}/{rank}" for rank in range(self._world_size)]
        self._store.set(keys[self._rank], msgspec.json.encode(mine).decode())
        try:
            self._store.wait(keys, timedelta(seconds=timeout_s))
        except RuntimeError as error:
            absent = [rank for rank, key in enumerate(keys) if not self._store.check([key])]
            each = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
            raise SelfTestError(
                [
                    f"rank {rank} of node {rank // each} did not come within {timeout_s:g} s; look at its log"
                    for rank in absent
                ]
            ) from error
        return [self._store.get(key) for key in keys]
