"""The memory of an SGLang server: its link is a list of what it was asked, for taking twice kills the real one."""

import asyncio
from collections.abc import Sequence

from tetrad_rollout.engine.protocol import ALL_TAGS, MemoryTag
from tetrad_rollout.engine.sglang.memory import ServerMemory

WEIGHTS, KV = frozenset({MemoryTag.WEIGHTS}), frozenset({MemoryTag.KV_CACHE})


class Link:
    """Where a server would be."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def flush_cache(self) -> None:
        self.asked.append("flush")

    async def release(self, tags: Sequence[str]) -> None:
        self.asked += [f"release {tag}" for tag in tags]

    async def take_back(self, tags: Sequence[str]) -> None:
        self.asked += [f"take {tag}" for tag in tags]


def a_memory(*, may_sleep: bool = True) -> tuple[ServerMemory, Link]:
    link = Link()
    return ServerMemory(link, may_sleep=may_sleep, num_gpus=0), link  # type: ignore[arg-type]  # as far as asked


def test_each_tag_is_released_and_taken_once() -> None:
    async def scenario() -> list[str]:
        memory, link = a_memory()
        await memory.release(ALL_TAGS)
        await memory.release(ALL_TAGS)
        assert await memory.take_back(WEIGHTS)
        assert not await memory.take_back(WEIGHTS)
        assert memory.released == KV
        await memory.take_back(ALL_TAGS)
        return link.asked

    assert asyncio.run(scenario()) == [
        "flush",
        "release kv_cache",
        "release weights",
        "take weights",
        "take kv_cache",
    ]


def test_a_server_that_cannot_sleep_is_asked_nothing() -> None:
    async def scenario() -> list[str]:
        memory, link = a_memory(may_sleep=False)
        await memory.release(ALL_TAGS)
        assert memory.released == ALL_TAGS
        await memory.take_back(ALL_TAGS)
        return link.asked

    assert asyncio.run(scenario()) == []


def test_without_a_gpu_nothing_is_needed() -> None:
    memory, _link = a_memory()

    asyncio.run(memory.release(KV))

    assert memory.needed(ALL_TAGS) == 0
    assert 0 < memory.figures().used < memory.figures().total
