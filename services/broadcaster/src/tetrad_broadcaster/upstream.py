"""Asks the run's broadcaster for a version, as an engine on another host would, and writes it into a buffer.

Chunk after chunk, a few asked for ahead; digested per tensor while the next ones arrive. Blocking work is in a thread.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import msgspec

from tetrad_transport import Connection
from tetrad_transport.keys import PublicKey
from tetrad_weights.digest import Bytes
from tetrad_weights.manifest import check_offer
from tetrad_weights.writing import VersionWriter
from tetrad_wire import RemoteProtocolError
from tetrad_wire.errors import Violation
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.weights import (
    MAX_CHUNK_BYTES,
    Manifest,
    PullChunk,
    PullVersion,
    SegmentReleased,
    VersionChunk,
    VersionOffered,
    VersionUnavailable,
    WeightTransport,
)

# 16 MiB on the way, as engines do.
WINDOW: Final = 4
RESEND_S: Final = 2.0

Reserve = Callable[[Manifest], Bytes]
"""Returns the buffer to fill: uint8[manifest.num_bytes]. Called on the event loop."""


class NotServedError(Exception):
    """The broadcaster does not have the version, or not any more."""


class Upstream:
    """One connection to the run's broadcaster."""

    def __init__(self, connection: Connection, *, name: str, incarnation: Incarnation, timeout_s: float) -> None:
        self._connection = connection
        self._name = name
        self._incarnation = incarnation
        self._timeout_s = timeout_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="relay")

    async def fetch(self, version: PolicyVersion, reserve: Reserve) -> VersionOffered:
        """Fill the buffer that `reserve` returns, every digest checked.

        Raises NotServedError, DeadlineError, or a WeightsError where the bytes are not what was promised. However it
        ends, nothing writes into the buffer afterwards and the broadcaster hears that its segment is free.
        """
        digest, reason = "", "it was given up"
        try:
            offer = await self._offered(version)
            await self._fill(offer, reserve(offer.manifest))
            digest, reason = offer.manifest.digest, ""
        finally:
            self._connection.send_nowait(
                SegmentReleased(version=version, incarnation=self._incarnation, digest=digest, reason=reason)
            )
        return offer

    def recognise(self, key: PublicKey) -> None:
        """Expect this key there from the next connection on."""
        self._connection.recognise(key)

    def close(self) -> None:
        """End the thread and the connection."""
        self._thread.shutdown()
        self._connection.close()

    async def _offered(self, version: PolicyVersion) -> VersionOffered:
        question = PullVersion(
            version=version, incarnation=self._incarnation, name=self._name, transports=(WeightTransport.SOCKET,)
        )
        reply = await self._connection.request(question, timeout_s=self._timeout_s, resend_s=RESEND_S)
        match reply:
            case VersionOffered() if reply.version == version and reply.transport is WeightTransport.SOCKET:
                check_offer(reply.manifest, None)
                return reply
            case VersionUnavailable():
                raise NotServedError(reply.reason)
            case _:
                raise _strange(reply, f"a pull of version {version}")

    async def _fill(self, offer: VersionOffered, buffer: Bytes) -> None:
        writer, loop = VersionWriter(offer.manifest, buffer), asyncio.get_running_loop()
        deadline = time.monotonic() + offer.deadline_s
        asking: deque[asyncio.Task[VersionChunk]] = deque()
        questions = _questions(offer, self._incarnation)
        try:
            while True:
                while len(asking) < WINDOW and (question := next(questions, None)) is not None:
                    asking.append(asyncio.create_task(self._chunk(question, deadline)))
                if not asking:
                    break
                chunk = await asking.popleft()
                writing = loop.run_in_executor(self._thread, partial(writer.write, chunk.offset, chunk.data))
                # A thread cannot be stopped: the buffer is left only once it writes no more.
                await asyncio.shield(writing)
        except asyncio.CancelledError:
            await loop.run_in_executor(self._thread, lambda: None)
            raise
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        writer.finish()

    async def _chunk(self, question: PullChunk, deadline: float) -> VersionChunk:
        timeout_s = max(0.0, deadline - time.monotonic())
        reply = await self._connection.request(question, timeout_s=timeout_s, resend_s=RESEND_S)
        match reply:
            case VersionChunk() if (reply.offset, len(reply.data)) == (question.offset, question.num_bytes):
                return reply
            case VersionUnavailable():
                raise NotServedError(reply.reason)
            case _:
                raise _strange(reply, f"{question.num_bytes} bytes at {question.offset} of {question.version}")


def _questions(offer: VersionOffered, incarnation: Incarnation) -> Iterator[PullChunk]:
    num_bytes = offer.manifest.num_bytes
    for offset in range(0, num_bytes, MAX_CHUNK_BYTES):
        size = min(MAX_CHUNK_BYTES, num_bytes - offset)
        yield PullChunk(version=offer.version, incarnation=incarnation, offset=offset, num_bytes=size)


def _strange(reply: msgspec.Struct, question: str) -> RemoteProtocolError:
    return RemoteProtocolError(Violation.SCHEMA, f"{type(reply).__name__} does not answer {question}")
