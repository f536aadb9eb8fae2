"""The trial of an SGLang server's caches at the start: one whose salt or whose flush does nothing is found out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tetrad_rollout.engine.errors import ProbeFailedError
from tetrad_rollout.engine.sglang.self_test import check_caches


@dataclass
class Link:
    """Where a server would be: a cache of prompts, of which parts can be broken."""

    is_cached: bool = True
    is_salted: bool = True
    is_flushed: bool = True
    vocab_size: int = 100
    seen: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)
    rids: list[str] = field(default_factory=list)

    async def generate(
        self, *, rid: str, input_ids: list[int], sampling: Mapping[str, Any], salt: str, adapter: str | None
    ) -> AsyncIterator[tuple[Any, Mapping[str, Any]]]:
        assert sampling["max_new_tokens"] == 1
        assert adapter is None
        self.rids.append(rid)
        prompt = (salt if self.is_salted else "", tuple(input_ids))
        cached = len(input_ids) - 1 if self.is_cached and prompt in self.seen else 0
        self.seen.add(prompt)
        yield SimpleNamespace(cached_tokens=cached), {}

    async def flush_cache(self) -> None:
        if self.is_flushed:
            self.seen.clear()


def tried_out(link: Link, *, is_prefix_cached: bool = True) -> None:
    asyncio.run(check_caches(link, is_prefix_cached=is_prefix_cached, adapter=None))  # type: ignore[arg-type]  # as far as asked


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_server_that_does_as_it_is_told_passes_twice(*, is_cached: bool) -> None:
    link = Link(is_cached=is_cached)

    for _ in range(2):
        tried_out(link, is_prefix_cached=is_cached)

    assert len(set(link.rids)) == len(link.rids) > 0


@pytest.mark.parametrize(
    ("link", "complaint"),
    [
        (Link(is_cached=False), "that was just computed is not in the prefix cache"),
        (Link(is_salted=False), "69 tokens computed under one salt were used under another: versions would mix"),
        (Link(is_flushed=False), "69 tokens were still cached after a flush"),
    ],
    ids=["no cache", "no salt", "no flush"],
)
def test_one_that_does_not_is_found_out(link: Link, complaint: str) -> None:
    with pytest.raises(ProbeFailedError, match=complaint):
        tried_out(link)
