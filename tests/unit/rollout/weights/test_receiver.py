"""Promises of fetching: an exporter in the test answers pulls from a real segment."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest

from tetrad_rollout.weights.errors import FetchDeadlineError, VersionNotOfferedError, VersionSupersededError
from tetrad_rollout.weights.receiver import ON_HOST, WeightReceiver
from tetrad_transport import Listener, MemoryTransport
from tetrad_weights import (
    DigestMismatchError,
    ManifestError,
    Parameter,
    Segment,
    TransportUnusableError,
    build,
    lay_out,
    verify,
)
from tetrad_weights.digest import CHUNK_BYTES
from tetrad_weights.owners import pid_space, this_process
from tetrad_weights.segments import segment_name
from tetrad_wire import RemoteProtocolError
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.weights import (
    Manifest,
    PullChunk,
    PullVersion,
    SegmentReleased,
    VersionChunk,
    VersionOffered,
    VersionUnavailable,
    WeightTransport,
)

pytestmark = pytest.mark.timeout(30)

LAYOUT = lay_out([Parameter("a", "float32", (CHUNK_BYTES,)), Parameter("b", "uint8", (77,))])
VERSION = PolicyVersion(4)
SOON_S = 5.0

Answer = Callable[[VersionOffered], msgspec.Struct | None]


@dataclass
class Exporter:
    """Answers each pull with the next of `answers`, then with the offer itself; notes what it hears."""

    listener: Listener
    segment: Segment
    offer: VersionOffered
    answers: list[Answer] = field(default_factory=list)
    pulls: list[PullVersion] = field(default_factory=list)
    releases: asyncio.Queue[SegmentReleased] = field(default_factory=asyncio.Queue)

    async def run(self) -> None:
        while True:
            delivery = await self.listener.receive()
            match delivery.message.body:
                case PullVersion() as pull:
                    self.pulls.append(pull)
                    answer = self.answers.pop(0)(self.offer) if self.answers else self.offer
                    if answer is not None:
                        self.listener.send_nowait(delivery.peer, answer, reply_to=delivery.message.id)
                case PullChunk() as asked:
                    data = self.segment.payload[asked.offset : asked.offset + asked.num_bytes]
                    chunk = VersionChunk(version=asked.version, offset=asked.offset, data=data)
                    self.listener.send_nowait(delivery.peer, chunk, reply_to=delivery.message.id)
                case SegmentReleased() as released:
                    self.releases.put_nowait(released)

    async def released(self) -> SegmentReleased:
        async with asyncio.timeout(SOON_S):
            return await self.releases.get()


@dataclass
class Site:
    exporter: Exporter
    receiver: WeightReceiver
    buffer: np.ndarray

    async def fetch(self) -> Manifest:
        return await self.receiver.fetch(VERSION, lambda _manifest: self.buffer)


@contextlib.asynccontextmanager
async def a_site(
    run: str, *answers: Answer, timeout_s: float = SOON_S, transports: Sequence[WeightTransport] = ON_HOST
) -> AsyncIterator[Site]:
    transport = MemoryTransport()
    segment = Segment(segment_name(run=run, incarnation="exporter", ordinal=0), LAYOUT.num_bytes)
    segment.payload[:] = np.random.default_rng(0).integers(0, 256, LAYOUT.num_bytes, dtype=np.uint8)
    segment.end_writing()
    offer = VersionOffered(
        version=VERSION, manifest=build(LAYOUT, segment.payload), segment=segment.handle, deadline_s=SOON_S
    )
    exporter = Exporter(transport.listen("memory://broadcaster"), segment, offer, list(answers))
    running = asyncio.create_task(exporter.run())
    receiver = WeightReceiver(
        transport.connect("memory://broadcaster", name="rollout-0"),
        incarnation=Incarnation("inc"),
        replica="rollout-0",
        timeout_s=timeout_s,
        transports=transports,
    )
    try:
        yield Site(exporter, receiver, np.zeros(LAYOUT.num_bytes, dtype=np.uint8))
    finally:
        running.cancel()
        receiver.close()
        segment.close()


def unavailable(*holds: int) -> Answer:
    return lambda offer: VersionUnavailable(
        version=offer.version, holds=tuple(map(PolicyVersion, holds)), reason="it is not here"
    )


async def test_the_stage_buffer_is_filled_and_verified_and_the_segment_released(run):
    async with a_site(run) as site:
        manifest = await site.fetch()

        assert manifest == site.exporter.offer.manifest
        verify(manifest, site.buffer)
        released = await site.exporter.released()
        assert (released.version, released.digest, released.reason) == (VERSION, manifest.digest, "")
        assert not site.exporter.segment.is_being_read()
        assert site.receiver.statistics().bytes_fetched == LAYOUT.num_bytes


async def test_the_broadcaster_is_told_whose_death_to_watch_for(run):
    async with a_site(run) as site:
        await site.fetch()

        pull = site.exporter.pulls[0]
        assert (pull.name, pull.pid, pull.started) == ("rollout-0", this_process().pid, this_process().started)


async def test_an_unavailable_version_is_asked_for_until_it_comes(run):
    async with a_site(run, unavailable(), unavailable(2, 3)) as site:
        await site.fetch()

        assert len(site.exporter.pulls) == 3


async def test_a_version_that_does_not_come_in_time_is_an_error_that_says_what_is_held(run):
    async with a_site(run, *[unavailable(2, 3)] * 1000, timeout_s=0.2) as site:
        with pytest.raises(VersionNotOfferedError, match=r"version 4 was not offered within 0\.2 s: .* holds 2, 3"):
            await site.fetch()


async def test_a_silent_broadcaster_is_an_error_at_the_deadline(run):
    async with a_site(run, *[lambda _offer: None] * 10, timeout_s=0.2) as site:
        with pytest.raises(VersionNotOfferedError, match="no answer"):
            await site.fetch()


async def test_a_version_that_was_overtaken_is_not_waited_for(run):
    async with a_site(run, unavailable(5, 6)) as site:
        with pytest.raises(VersionSupersededError, match="version 4 is gone; the broadcaster holds 5, 6"):
            await site.fetch()


async def test_a_poisoned_byte_is_named_by_its_tensor_and_the_release_says_so(run):
    async with a_site(run) as site:
        site.exporter.segment.payload[LAYOUT.tensors[1].offset] ^= 1

        with pytest.raises(DigestMismatchError) as caught:
            await site.fetch()

        assert caught.value.tensor == "b"
        released = await site.exporter.released()
        assert released.digest == ""
        assert "tensor b" in released.reason
        assert not site.exporter.segment.is_being_read()


async def test_a_void_handle_is_unusable_and_released(run):
    async with a_site(run, transports=(WeightTransport.SHARED_MEMORY,)) as site:
        site.exporter.segment.begin_writing()
        site.exporter.segment.end_writing()

        with pytest.raises(TransportUnusableError):
            await site.fetch()

        assert "written anew" in (await site.exporter.released()).reason


def by_socket(offer: VersionOffered) -> VersionOffered:
    return msgspec.structs.replace(offer, transport=WeightTransport.SOCKET, segment=None)


def as_it_is(offer: VersionOffered) -> VersionOffered:
    return offer


async def test_what_cannot_be_proved_is_left_out_and_the_version_comes_in_chunks(run):
    async with a_site(run, as_it_is, by_socket) as site:
        site.exporter.segment.begin_writing()
        site.exporter.segment.end_writing()

        manifest = await site.fetch()

        verify(manifest, site.buffer)
        assert [pull.transports for pull in site.exporter.pulls] == [ON_HOST, (WeightTransport.SOCKET,)]
        assert site.receiver.statistics().last_transport is WeightTransport.SOCKET
        assert (await site.exporter.released()).digest == manifest.digest


async def test_an_engine_that_lost_shared_memory_once_tries_it_again_for_the_next_version(run):
    def of_nowhere(offer: VersionOffered) -> VersionOffered:
        assert offer.segment is not None
        return msgspec.structs.replace(offer, segment=msgspec.structs.replace(offer.segment, name="tetrad.no.where.0"))

    async with a_site(run, of_nowhere, by_socket) as site:
        await site.fetch()
        await site.fetch()

        assert [pull.transports for pull in site.exporter.pulls] == [ON_HOST, (WeightTransport.SOCKET,), ON_HOST]
        assert site.receiver.statistics().last_transport is WeightTransport.SHARED_MEMORY


async def test_the_broadcaster_is_told_where_the_pid_means_something(run):
    async with a_site(run) as site:
        await site.fetch()

        assert site.exporter.pulls[0].pid_space == pid_space()


@pytest.mark.parametrize(
    "lie",
    [by_socket, lambda offer: msgspec.structs.replace(offer, base=PolicyVersion(3))],
    ids=["a_transport_that_was_not_named", "a_delta"],
)
async def test_an_offer_that_was_not_asked_for_is_refused(run, lie):
    async with a_site(run, lie, transports=(WeightTransport.SHARED_MEMORY,)) as site:
        with pytest.raises(RemoteProtocolError):
            await site.fetch()


async def test_a_manifest_that_contradicts_itself_touches_no_buffer(run):
    def lie(offer: VersionOffered) -> VersionOffered:
        return msgspec.structs.replace(offer, manifest=msgspec.structs.replace(offer.manifest, digest="0" * 32))

    async with a_site(run, lie) as site:
        with pytest.raises(ManifestError):
            await site.fetch()

        assert not site.buffer.any()
        assert (await site.exporter.released()).digest == ""


async def test_an_answer_about_another_version_is_refused(run):
    async with a_site(run, lambda offer: msgspec.structs.replace(offer, version=PolicyVersion(9))) as site:
        with pytest.raises(RemoteProtocolError):
            await site.fetch()


@pytest.mark.parametrize(
    "buffer", [np.zeros(3, dtype=np.uint8), np.zeros(LAYOUT.num_bytes // 4, dtype=np.float32)], ids=["short", "float"]
)
async def test_a_stage_buffer_that_does_not_fit_is_refused_with_the_numbers(run, buffer):
    async with a_site(run) as site:
        site.buffer = buffer

        with pytest.raises(ValueError, match=rf"must be writable uint8\[{LAYOUT.num_bytes}\]"):
            await site.fetch()
        assert (await site.exporter.released()).digest == ""


async def test_a_copy_that_outlives_its_offer_is_stopped_and_released(run):
    async with a_site(run, lambda offer: msgspec.structs.replace(offer, deadline_s=0.0)) as site:
        with pytest.raises(FetchDeadlineError, match="version 4 was not copied within the 0 s"):
            await site.fetch()

        assert (await site.exporter.released()).digest == ""


async def test_a_cancelled_fetch_is_out_of_the_buffer_and_releases(run):
    began, may_go_on = threading.Event(), threading.Event()
    async with a_site(run) as site:

        def stage(_manifest: Manifest) -> np.ndarray:
            # Holds up the thread that is to copy.
            site.receiver._thread.submit(lambda: (began.set(), may_go_on.wait(SOON_S)))
            return site.buffer

        fetching = asyncio.create_task(site.receiver.fetch(VERSION, stage))
        await asyncio.to_thread(began.wait, SOON_S)
        fetching.cancel()
        may_go_on.set()

        with pytest.raises(asyncio.CancelledError):
            await fetching
        at_once = site.buffer.copy()
        assert (await site.exporter.released()).reason.startswith("CancelledError")
        np.testing.assert_array_equal(site.buffer, at_once)
        assert not site.exporter.segment.is_being_read()


async def test_one_version_at_a_time_is_fetched(run):
    async with a_site(run) as site:
        await asyncio.gather(site.fetch(), site.fetch())

        assert site.receiver.statistics().num_fetched == 2
        assert (await site.exporter.released()).digest == (await site.exporter.released()).digest != ""
