"""What the server holds of its GPUs: given back and taken back by tag, never twice, and measured as it goes.

The server must be idle while its memory comes or goes; that is the engine's business. With several GPUs each is
measured; what is said of them is what the fullest one allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from tetrad_devices.facts import memory_of, uuid_of
from tetrad_rollout.engine.protocol import MemoryTag
from tetrad_runtime.host_memory import host_memory
from tetrad_wire.messages.membership import MemoryFigures

if TYPE_CHECKING:
    from tetrad_rollout.engine.sglang.server import Server

SERVER_TAGS: Final = {MemoryTag.KV_CACHE: "kv_cache", MemoryTag.WEIGHTS: "weights"}


class ServerMemory:
    """The memory of one server's processes and of the stage beside it."""

    def __init__(self, server: Server, *, may_sleep: bool, num_gpus: int, held: Sequence[int] = ()) -> None:
        self._server = server
        self._may_sleep = may_sleep
        self._num_gpus = num_gpus
        """0 on a CPU, where nothing comes free."""
        self._held = tuple(held) or (0,) * num_gpus
        """Bytes that the server took of each GPU when it started."""
        self._freed: dict[MemoryTag, tuple[int, ...]] = {}
        """Bytes that came free of each GPU with each tag that is released."""
        self.released: frozenset[MemoryTag] = frozenset()

    async def release(self, tags: frozenset[MemoryTag]) -> None:
        """Give back what is not given back yet."""
        new = sorted(tags - self.released)
        if new and self._may_sleep:
            await self._server.flush_cache()  # also waits until the server is idle: it dies if it is not
        for tag in new:
            before = free_bytes(self._num_gpus)
            if self._may_sleep:
                await self._server.release([SERVER_TAGS[tag]])
            self._freed[tag] = _grown(before, free_bytes(self._num_gpus))
            self.released |= {tag}

    async def take_back(self, tags: frozenset[MemoryTag]) -> bool:
        """Take back what was given back of these; return whether there was any."""
        taken = sorted(tags & self.released)
        for tag in taken:
            if self._may_sleep:
                await self._server.take_back([SERVER_TAGS[tag]])
            self.released -= {tag}
            del self._freed[tag]
        return bool(taken)

    def needed(self, tags: frozenset[MemoryTag]) -> int:
        """Bytes that `take_back` of these will take, of the GPU where it takes most."""
        return max((self._freed_of(gpu, tags) for gpu in range(self._num_gpus)), default=0)

    def figures(self) -> MemoryFigures:
        """What is held now, and what is free, of the GPU with the least free."""
        if self._num_gpus == 0:
            memory = host_memory()
            return MemoryFigures(used=memory.resident, free=memory.free, total=memory.total)
        index, gpu = min(((index, memory_of(index)) for index in range(self._num_gpus)), key=lambda pair: pair[1].free)
        used = max(0, self._held[index] - self._freed_of(index, self.released)) + gpu.allocated
        return MemoryFigures(
            used=used, reserved=gpu.reserved - gpu.allocated, free=gpu.free, total=gpu.total, gpu=uuid_of(index)
        )

    def _freed_of(self, gpu: int, tags: frozenset[MemoryTag]) -> int:
        return sum(self._freed[tag][gpu] for tag in tags & self._freed.keys())


def free_bytes(num_gpus: int) -> tuple[int, ...]:
    """Free on each of the first GPUs that this process sees."""
    return tuple(memory_of(index).free for index in range(num_gpus))


def measured(start: Callable[[], Server], *, num_gpus: int) -> tuple[Server, tuple[int, ...]]:
    """Start a server; return it with the bytes that it took of each GPU. Nobody else may allocate there meanwhile."""
    before = free_bytes(num_gpus)
    server = start()
    return server, _grown(free_bytes(num_gpus), before)


def _grown(before: Sequence[int], after: Sequence[int]) -> tuple[int, ...]:
    return tuple(max(0, more - less) for less, more in zip(before, after, strict=True))
