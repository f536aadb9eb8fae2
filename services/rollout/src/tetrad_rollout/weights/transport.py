"""How a buffer is filled with the bytes of an offer: what every transport does, and no transport in particular."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol

import msgspec

from tetrad_weights.digest import Bytes
from tetrad_wire.messages.groups import FollowSending, FormGroup
from tetrad_wire.messages.weights import PullChunk, PullVersion, VersionOffered

Question = PullVersion | PullChunk | FormGroup | FollowSending
"""What an engine asks of the broadcaster."""


class Request(Protocol):
    """Asks the broadcaster and returns its reply; raises DeadlineError, and TransferBrokenError where it is gone."""

    async def __call__(self, body: Question, *, timeout_s: float, resend_s: float) -> msgspec.Struct:
        """Send, wait, and send again after each silence of `resend_s`."""
        ...


class Filler(Protocol):
    """One transport. For one fetch at a time."""

    @property
    def progress(self) -> str:
        """How far a fill under way is, in words; empty where that is not known."""
        ...

    async def prove(self, offer: VersionOffered) -> None:
        """Raise TransportUnusableError unless what the offer points at can be reached from here."""
        ...

    async def fill(self, offer: VersionOffered, buffer: Bytes, *, deadline: float) -> None:
        """Fill uint8[manifest.num_bytes], every digest checked; nothing writes into it once this has ended.

        Raises FetchDeadlineError once `deadline` on the monotonic clock has come, DigestMismatchError for bytes that
        are not what the manifest says.
        """
        ...

    def close(self) -> None:
        """Let go of whatever is kept from one fetch to the next."""
        ...


async def in_thread(thread: Executor, work: Callable[[], None], *, on_cancel: Callable[[], None] | None = None) -> None:
    """Do blocking work; when this ends, cancelled or not, the work has ended. `on_cancel` asks it to hurry."""
    working = asyncio.get_running_loop().run_in_executor(thread, work)
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        if on_cancel is not None:
            on_cancel()
        await asyncio.gather(working, return_exceptions=True)
        raise
