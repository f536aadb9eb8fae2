"""Waiting for whichever comes first.

Owns nothing. `Any` because the results differ in type and none of them is read here.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any


async def first_of(*futures: "asyncio.Future[Any]", timeout_s: float | None = None) -> None:
    """Return when any of them is done, or after the timeout; nothing is cancelled."""
    await asyncio.wait(set(futures), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)


async def all_of(*waits: Awaitable[None]) -> None:
    """Wait for all; the first error is raised at once and unwrapped, while the others go on."""
    await asyncio.gather(*waits)


async def cancelled(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and return when they have ended; their results are not wanted any more."""
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})
