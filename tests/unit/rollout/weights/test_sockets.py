"""Promises of fetching in chunks: the broadcaster's side is a function that answers one question at a time."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest

from tetrad_rollout.weights.errors import FetchDeadlineError, TransferBrokenError, VersionSupersededError
from tetrad_rollout.weights.sockets import WINDOW, Sockets
from tetrad_transport import DeadlineError
from tetrad_weights import DigestMismatchError, Parameter, build, lay_out, verify
from tetrad_wire import RemoteProtocolError
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.weights import (
    PullChunk,
    VersionChunk,
    VersionOffered,
    VersionUnavailable,
    WeightTransport,
)

pytestmark = pytest.mark.timeout(30)

LAYOUT = lay_out([Parameter("a", "float32", (1000,)), Parameter("b", "uint8", (777,))])
CHUNK_BYTES = 256
NUM_CHUNKS = -(-LAYOUT.num_bytes // CHUNK_BYTES)
MIDDLE = 8 * CHUNK_BYTES
VERSION = PolicyVersion(4)


class Exporter:
    """Answers from an array; `answer` may be replaced by a worse one."""

    def __init__(self) -> None:
        self.payload = np.random.default_rng(0).integers(0, 256, LAYOUT.num_bytes, dtype=np.uint8)
        self.manifest = build(LAYOUT, self.payload)
        self.asked: list[int] = []
        self.num_open = self.most_open = 0

    @property
    def offer(self) -> VersionOffered:
        return VersionOffered(
            version=VERSION, manifest=self.manifest, transport=WeightTransport.SOCKET, deadline_s=30.0
        )

    async def request(self, question: PullChunk, *, timeout_s: float, resend_s: float) -> msgspec.Struct:
        assert timeout_s > resend_s > 0
        self.asked.append(question.offset)
        self.num_open += 1
        self.most_open = max(self.most_open, self.num_open)
        try:
            return await self.answer(question)
        finally:
            self.num_open -= 1

    async def answer(self, question: PullChunk) -> msgspec.Struct:
        return self.chunk(question)

    def chunk(self, question: PullChunk) -> VersionChunk:
        data = self.payload[question.offset : question.offset + question.num_bytes]
        return VersionChunk(version=question.version, offset=question.offset, data=data)


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as thread:
        yield thread


async def fill(exporter: Exporter, thread: ThreadPoolExecutor) -> np.ndarray:
    sockets = Sockets(thread, exporter.request, incarnation=Incarnation("inc"), chunk_bytes=CHUNK_BYTES)
    buffer = np.zeros(LAYOUT.num_bytes, dtype=np.uint8)
    await sockets.fill(exporter.offer, buffer, deadline=time.monotonic() + 30.0)
    return buffer


async def test_every_chunk_is_asked_for_once_and_in_order_and_the_version_is_whole(thread):
    exporter = Exporter()

    buffer = await fill(exporter, thread)

    verify(exporter.manifest, buffer)
    assert exporter.asked == [index * CHUNK_BYTES for index in range(NUM_CHUNKS)]


async def test_a_few_chunks_are_on_their_way_at_once_and_never_more(thread):
    exporter, may_answer = Exporter(), asyncio.Event()

    async def when_all_ask(question: PullChunk) -> msgspec.Struct:
        if exporter.num_open == WINDOW:
            may_answer.set()
        await may_answer.wait()
        return exporter.chunk(question)

    exporter.answer = when_all_ask
    await fill(exporter, thread)

    assert exporter.most_open == WINDOW


async def test_chunks_that_come_in_another_order_are_put_where_they_belong(thread):
    exporter = Exporter()
    later: asyncio.Queue[None] = asyncio.Queue()

    async def second_first(question: PullChunk) -> msgspec.Struct:
        if question.offset % (2 * CHUNK_BYTES) == 0 and question.offset + CHUNK_BYTES < LAYOUT.num_bytes:
            await later.get()
        else:
            later.put_nowait(None)
        return exporter.chunk(question)

    exporter.answer = second_first
    buffer = await fill(exporter, thread)

    verify(exporter.manifest, buffer)


async def test_a_flipped_bit_is_named_by_its_tensor(thread):
    exporter = Exporter()
    exporter.payload[LAYOUT.tensors[1].offset + 5] ^= 1

    with pytest.raises(DigestMismatchError) as caught:
        await fill(exporter, thread)

    assert caught.value.tensor == "b"


LIES = {
    "another_version": {"version": PolicyVersion(5)},
    "another_place": {"offset": 0},
    "a_byte_less": {"data": np.zeros(CHUNK_BYTES - 1, dtype=np.uint8)},
    "a_byte_more": {"data": np.zeros(CHUNK_BYTES + 1, dtype=np.uint8)},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_a_chunk_that_was_not_asked_for_is_refused_by_what_was(thread, lie):
    exporter = Exporter()

    async def lying(question: PullChunk) -> msgspec.Struct:
        chunk = exporter.chunk(question)
        return msgspec.structs.replace(chunk, **lie) if question.offset == MIDDLE else chunk

    exporter.answer = lying
    with pytest.raises(RemoteProtocolError, match=f"{CHUNK_BYTES} bytes at {MIDDLE} of version 4"):
        await fill(exporter, thread)


@pytest.mark.parametrize(("holds", "expected"), [((5, 6), VersionSupersededError), ((), TransferBrokenError)])
async def test_a_transfer_that_is_ended_from_there_says_why_and_asks_for_nothing_more(thread, holds, expected):
    exporter = Exporter()

    async def ending(question: PullChunk) -> msgspec.Struct:
        if question.offset < MIDDLE:
            return exporter.chunk(question)
        return VersionUnavailable(version=VERSION, holds=tuple(map(PolicyVersion, holds)), reason="it is over")

    exporter.answer = ending
    with pytest.raises(expected, match=r"holds 5, 6|it is over"):
        await fill(exporter, thread)

    assert exporter.num_open == 0
    assert max(exporter.asked) < MIDDLE + WINDOW * CHUNK_BYTES


async def test_a_chunk_that_never_comes_is_an_error_at_the_offer_s_deadline(thread):
    exporter = Exporter()

    async def silent(question: PullChunk) -> msgspec.Struct:
        if question.offset == MIDDLE:
            raise DeadlineError("no reply to PullChunk within 30 s")
        return exporter.chunk(question)

    exporter.answer = silent
    with pytest.raises(
        FetchDeadlineError, match=r"not copied within the 30 s of its offer, at chunk 9 of 19 over a socket"
    ):
        await fill(exporter, thread)


async def test_a_cancelled_fetch_asks_for_nothing_more_and_is_out_of_the_buffer(thread):
    exporter, reached = Exporter(), asyncio.Event()

    async def stuck(question: PullChunk) -> msgspec.Struct:
        if question.offset == MIDDLE:
            reached.set()
            await asyncio.Event().wait()
        return exporter.chunk(question)

    exporter.answer = stuck
    filling = asyncio.create_task(fill(exporter, thread))
    await reached.wait()
    filling.cancel()

    with contextlib.suppress(asyncio.CancelledError):
        await filling
    assert filling.cancelled()
    assert exporter.num_open == 0
    thread.submit(lambda: None).result(5.0)
