"""Bytes in chunks over the connection to the broadcaster, for an engine that does not share its memory.

The engine asks for each chunk, a few ahead of the one that it is writing: that bounds what is in memory and on the way
on both sides, and no chunk waits in the way of anything else.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from typing import Final

from tetrad_rollout.weights.errors import FetchDeadlineError, TransferBrokenError, VersionSupersededError
from tetrad_rollout.weights.transport import Request, in_thread
from tetrad_transport import DeadlineError
from tetrad_weights.digest import Bytes
from tetrad_weights.writing import VersionWriter
from tetrad_wire import RemoteProtocolError
from tetrad_wire.errors import Violation
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.weights import (
    MAX_CHUNK_BYTES,
    PullChunk,
    VersionChunk,
    VersionOffered,
    VersionUnavailable,
)

# 16 MiB on the way: enough for 100 Gbit/s at a round trip of a millisecond.
WINDOW: Final = 4
# A lost chunk is asked for again; the broadcaster knows what is still on its way. Well below the silence after which it
# gives an engine up.
RESEND_S: Final = 2.0


class Sockets:
    """Writes and digests each chunk while the next ones arrive."""

    def __init__(
        self,
        thread: Executor,
        request: Request,
        *,
        incarnation: Incarnation,
        chunk_bytes: int = MAX_CHUNK_BYTES,
        resend_s: float = RESEND_S,
    ) -> None:
        self._thread = thread
        self._request = request
        self._incarnation = incarnation
        self._chunk_bytes = chunk_bytes
        self._resend_s = resend_s
        self._num_written = self._num_chunks = 0

    @property
    def progress(self) -> str:
        """The chunk that is waited for or written: `chunk 3 of 16`."""
        return f"chunk {min(self._num_written + 1, self._num_chunks)} of {self._num_chunks}"

    async def prove(self, offer: VersionOffered) -> None:
        """Nothing to prove: the offer came the way that the chunks will come."""

    async def fill(self, offer: VersionOffered, buffer: Bytes, *, deadline: float) -> None:
        """Ask for every chunk in order; raise TransferBrokenError or VersionSupersededError where one is refused."""
        writer = VersionWriter(offer.manifest, buffer)
        self._num_written, self._num_chunks = 0, -(-offer.manifest.num_bytes // self._chunk_bytes)
        asking: deque[asyncio.Task[VersionChunk]] = deque()
        try:
            for question in self._questions(offer):
                asking.append(self._begin(question, offer, deadline))
                if len(asking) == WINDOW:
                    await self._write(writer, await asking.popleft())
            while asking:
                await self._write(writer, await asking.popleft())
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        writer.finish()

    def close(self) -> None:
        """Nothing is kept."""

    async def _write(self, writer: VersionWriter, chunk: VersionChunk) -> None:
        await in_thread(self._thread, partial(writer.write, chunk.offset, chunk.data))
        self._num_written += 1

    def _questions(self, offer: VersionOffered) -> Iterator[PullChunk]:
        num_bytes = offer.manifest.num_bytes
        for offset in range(0, num_bytes, self._chunk_bytes):
            size = min(self._chunk_bytes, num_bytes - offset)
            yield PullChunk(version=offer.version, incarnation=self._incarnation, offset=offset, num_bytes=size)

    def _begin(self, question: PullChunk, offer: VersionOffered, deadline: float) -> asyncio.Task[VersionChunk]:
        asking = self._ask(question, offer, deadline=deadline)
        return asyncio.create_task(asking, name=f"chunk-{question.version}-{question.offset}")

    async def _ask(self, question: PullChunk, offer: VersionOffered, *, deadline: float) -> VersionChunk:
        timeout_s = max(0.0, deadline - time.monotonic())
        try:
            reply = await self._request(question, timeout_s=timeout_s, resend_s=self._resend_s)
        except DeadlineError:
            at = f"chunk {question.offset // self._chunk_bytes + 1} of {self._num_chunks} over a socket"
            raise FetchDeadlineError(version=offer.version, limit_s=offer.deadline_s, at=at) from None
        match reply:
            case VersionChunk() if _is_answer(reply, question):
                return reply
            case VersionUnavailable() if reply.version == question.version:
                raise _refusal(reply)
            case _:
                asked = f"{question.num_bytes} bytes at {question.offset} of version {question.version}"
                raise RemoteProtocolError(Violation.SCHEMA, f"{type(reply).__name__} does not answer {asked}")


def _is_answer(chunk: VersionChunk, question: PullChunk) -> bool:
    asked = (question.version, question.offset, question.num_bytes)
    return (chunk.version, chunk.offset, len(chunk.data)) == asked


def _refusal(reply: VersionUnavailable) -> Exception:
    if reply.holds and min(reply.holds) > reply.version:
        return VersionSupersededError(version=reply.version, holds=reply.holds)
    return TransferBrokenError(version=reply.version, reason=reply.reason)
