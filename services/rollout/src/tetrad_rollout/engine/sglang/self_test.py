"""What must be true of a server's caches before its first certificate, tried out on it.

Its parameters need no such trial: at each commit all that the server holds is digested and compared (`weights`), which
says of that very version what a trial with poisoned weights would say of another one.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from tetrad_rollout.engine.errors import ProbeFailedError

if TYPE_CHECKING:
    from tetrad_rollout.engine.sglang.server import Server

PROMPT_LENGTH: Final = 70
"""Tokens; more than any page of a KV cache."""
_attempts = itertools.count()


async def check_caches(server: Server, *, is_prefix_cached: bool, adapter: str | None) -> None:
    """Raise ProbeFailedError unless salts keep prefixes apart and a flush forgets them."""
    attempt = next(_attempts)

    async def cached(salt: str, number: int) -> int:
        ids = [1 + i % (server.vocab_size - 1) for i in range(PROMPT_LENGTH)]
        found = 0
        async for chunk, _meta in server.generate(
            rid=f"cache-test-{attempt:06d}-{number}",
            input_ids=ids,
            sampling={"max_new_tokens": 1, "temperature": 0.0, "ignore_eos": True},
            salt=f"cache-test-{attempt}-{salt}",
            adapter=adapter,
        ):
            found = chunk.cached_tokens
        return found

    await cached("a", 0)
    if is_prefix_cached and await cached("a", 1) == 0:
        raise ProbeFailedError("a prompt that was just computed is not in the prefix cache; is it switched off?")
    if (hit := await cached("b", 2)) > 0:
        raise ProbeFailedError(f"{hit} tokens computed under one salt were used under another: versions would mix")
    await server.flush_cache()
    if (hit := await cached("a", 3)) > 0:
        raise ProbeFailedError(
            f"{hit} tokens were still cached after a flush: keys and values of old weights would live on"
        )
