"""What the server holds of its GPU: given back and taken back by tag, never twice, and measured as it goes.

The server must be idle while its memory comes or goes; that is the engine's business.
"""

from __future__ import annotations

from collections.abc import Callable
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

    def __init__(self, server: Server, *, may_sleep: bool, is_on_gpu: bool, held: int = 0) -> None:
        self._server = server
        self._may_sleep = may_sleep
        self._is_on_gpu = is_on_gpu
        self._held = held
        """Bytes that the server took when it started."""
        self._freed: dict[MemoryTag, int] = {}
        """Bytes that came free with each tag that is released."""
        self.released: frozenset[MemoryTag] = frozenset()

    async def release(self, tags: frozenset[MemoryTag]) -> None:
        """Give back what is not given back yet."""
        new = sorted(tags - self.released)
        if new and self._may_sleep:
            await self._server.flush_cache()  # also waits until the server is idle: it dies if it is not
        for tag in new:
            before = free_bytes(is_on_gpu=self._is_on_gpu)
            if self._may_sleep:
                await self._server.release([SERVER_TAGS[tag]])
            self._freed[tag] = max(0, free_bytes(is_on_gpu=self._is_on_gpu) - before)
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
        """Bytes that `take_back` of these will take."""
        return sum(self._freed.get(tag, 0) for tag in tags)

    def figures(self) -> MemoryFigures:
        """What is held now, and what is free."""
        if not self._is_on_gpu:
            memory = host_memory()
            return MemoryFigures(used=memory.resident, free=memory.free, total=memory.total)
        gpu = memory_of()
        used = max(0, self._held - sum(self._freed.values())) + gpu.allocated
        return MemoryFigures(
            used=used, reserved=gpu.reserved - gpu.allocated, free=gpu.free, total=gpu.total, gpu=uuid_of()
        )


def free_bytes(*, is_on_gpu: bool) -> int:
    """Free on the GPU; 0 without one, where nothing comes free."""
    return memory_of().free if is_on_gpu else 0


def measured(start: Callable[[], Server], *, is_on_gpu: bool) -> tuple[Server, int]:
    """Start a server; return it with the bytes that it took. Nobody else may allocate on its GPU meanwhile."""
    before = free_bytes(is_on_gpu=is_on_gpu)
    server = start()
    return server, max(0, before - free_bytes(is_on_gpu=is_on_gpu))
