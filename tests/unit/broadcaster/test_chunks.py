"""Promises of serving chunks: an engine asks over a channel, the broadcaster lends what it holds."""

import asyncio

import msgspec
import numpy as np
import pytest
from unit.broadcaster.site import LAYOUT, SOON_S, Site, a_site, until

from tetrad_broadcaster.chunks import MAX_LENT, ChunkDesk
from tetrad_broadcaster.metrics import BroadcasterMetrics
from tetrad_broadcaster.rights import Reader, ReadingRights, Right
from tetrad_broadcaster.shelf import Held, Shelf
from tetrad_telemetry.metrics import Metrics
from tetrad_transport import DeadlineError
from tetrad_weights import SegmentRing, build, verify
from tetrad_weights.owners import pid_space, this_process
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.weights import (
    PullChunk,
    PullVersion,
    VersionAccepted,
    VersionChunk,
    VersionOffered,
    VersionUnavailable,
    WeightTransport,
)

pytestmark = pytest.mark.timeout(30)
SOCKET = (WeightTransport.SOCKET,)


async def ask(site: Site, version: int, offset: int = 0, num_bytes: int = 64) -> msgspec.Struct:
    question = PullChunk(
        version=PolicyVersion(version), incarnation=Incarnation("rollout-0"), offset=offset, num_bytes=num_bytes
    )
    return await site.connect().request(question, timeout_s=SOON_S)


async def test_an_engine_is_offered_the_first_transport_that_it_names_and_the_choice_is_counted(run):
    async with a_site(run) as site:
        await site.publish(1)

        shared = await site.pull(1)
        by_socket = await site.pull(1, transports=SOCKET)

        assert (shared.transport, by_socket.transport) == (WeightTransport.SHARED_MEMORY, WeightTransport.SOCKET)
        assert by_socket.segment is None
        assert site.count('tetrad_broadcast_offers_total{transport="shared_memory"}') == 1
        assert site.count('tetrad_broadcast_offers_total{transport="socket"}') == 1


async def test_chunks_make_up_the_version_and_reading_them_counts_as_socket(run):
    async with a_site(run) as site:
        await site.publish(1)
        offer = await site.pull(1, transports=SOCKET)
        assert isinstance(offer, VersionOffered)

        chunks = [await ask(site, 1, at, min(64, LAYOUT.num_bytes - at)) for at in range(0, LAYOUT.num_bytes, 64)]
        verify(offer.manifest, np.concatenate([chunk.data for chunk in chunks]))
        site.release(1, offer.manifest.digest)
        await until(lambda: site.broadcaster.is_idle, "the release was heard")

        assert site.count('tetrad_broadcast_bytes_total{transport="socket"}') == LAYOUT.num_bytes
        assert site.count('tetrad_broadcast_chunks_total{outcome="sent"}') == len(chunks)


@pytest.mark.parametrize("transports", [None, (WeightTransport.SHARED_MEMORY,)], ids=["nothing", "a_segment"])
async def test_who_was_not_offered_chunks_gets_none(run, transports):
    async with a_site(run) as site:
        await site.publish(1)
        if transports is not None:
            await site.pull(1, transports=transports)

        answer = await ask(site, 1)

        assert isinstance(answer, VersionUnavailable)
        assert "was not offered" in answer.reason
        assert site.count('tetrad_broadcast_chunks_total{outcome="refused"}') == 1


async def test_bytes_beyond_the_version_are_refused_with_the_numbers(run):
    async with a_site(run) as site:
        await site.publish(1)
        await site.pull(1, transports=SOCKET)

        answer = await ask(site, 1, LAYOUT.num_bytes - 10, 11)

        assert isinstance(answer, VersionUnavailable)
        assert f"has {LAYOUT.num_bytes} bytes; byte {LAYOUT.num_bytes + 1} was asked for" in answer.reason


async def test_a_transfer_ends_when_its_version_is_superseded(run):
    async with a_site(run) as site:
        await site.publish(1)
        await site.pull(1, transports=SOCKET)
        assert isinstance(await ask(site, 1), VersionChunk)

        for version in (2, 3):
            assert isinstance(await site.publish(version), VersionAccepted)
        answer = await ask(site, 1)

        assert isinstance(answer, VersionUnavailable)
        assert answer.holds == (2, 3)


async def test_an_engine_that_asks_for_nothing_more_is_given_up_at_the_limit_of_silence(run):
    async with a_site(run, timeout_s=0.4) as site:
        await site.publish(1)
        await site.pull(1, transports=SOCKET)
        assert isinstance(await ask(site, 1), VersionChunk)

        await until(lambda: site.broadcaster.is_idle, "its silence was seen")

        assert site.count('tetrad_broadcast_failures_total{reason="timeout"}') == 1
        assert isinstance(await ask(site, 1), VersionUnavailable)


@pytest.mark.parametrize(("space", "is_seen"), [(pid_space(), True), ("another boot:1", False)])
async def test_a_pid_is_looked_up_only_where_it_means_something(run, space, is_seen):
    async with a_site(run) as site:
        await site.publish(1)
        question = PullVersion(
            version=PolicyVersion(1),
            incarnation=Incarnation("rollout-0"),
            pid=this_process().pid,
            started=1,
            pid_space=space,
            transports=SOCKET,
        )
        await site.connect().request(question, timeout_s=SOON_S)

        site.broadcaster._end_rights()

        assert site.broadcaster.is_idle == is_seen


class Bench:
    """A desk without a broadcaster around it, one engine with a right, and hands that hold on to what they get."""

    def __init__(self, run: str) -> None:
        self.ring = SegmentRing(run=run, incarnation="broadcaster")
        shelf, self.rights = Shelf(), ReadingRights()
        metrics = BroadcasterMetrics(Metrics("broadcaster", version="0", scope="broadcast"))
        self.desk = ChunkDesk(shelf, self.ring, self.rights, metrics=metrics, timeout_s=30.0)
        self.segment = self.ring.take(LAYOUT.num_bytes, pinned=())
        self.segment.payload[:] = 1
        self.segment.end_writing()
        manifest = build(LAYOUT, self.segment.payload)
        held = Held(version=PolicyVersion(1), step=1, manifest=manifest, segment=self.segment.handle)
        shelf.put(held)
        self.grant("rollout-0")

    def grant(self, name: str) -> None:
        self.rights.grant(
            Right(
                reader=Reader(Incarnation(name), name, None),
                version=PolicyVersion(1),
                digest="",
                num_bytes=LAYOUT.num_bytes,
                segment=self.segment.name,
                transport=WeightTransport.SOCKET,
                granted_at=0.0,
                deadline=30.0,
            )
        )

    def ask(
        self, offset: int = 0, *, name: str = "rollout-0", now: float = 1.0
    ) -> VersionChunk | VersionUnavailable | None:
        pull = PullChunk(version=PolicyVersion(1), incarnation=Incarnation(name), offset=offset, num_bytes=8)
        return self.desk.answer(pull, now=now)


@pytest.fixture
def bench(run):
    made = Bench(run)
    yield made
    made.ring.close()


def test_a_chunk_is_a_view_and_no_copy_and_can_be_lent_to_a_socket(bench):
    chunk = bench.ask(8)

    assert np.shares_memory(chunk.data, bench.segment.payload)
    assert memoryview(chunk.data).readonly


def test_a_segment_is_not_written_while_a_chunk_of_it_is_on_its_way_whatever_becomes_of_the_right(bench):
    chunk = bench.ask()
    bench.rights.release(Incarnation("rollout-0"), PolicyVersion(1))

    assert not bench.segment.begin_writing()
    del chunk
    assert bench.segment.begin_writing()


def test_a_chunk_that_is_still_on_its_way_is_not_sent_again(bench):
    chunk = bench.ask()

    assert bench.ask() is None
    del chunk
    assert isinstance(bench.ask(), VersionChunk)


def test_asking_again_on_a_slow_link_is_no_silence(bench):
    chunk = bench.ask(now=1.0)
    assert bench.ask(now=10.0) is None

    assert bench.rights.expire(20.0) == []
    assert len(bench.rights.expire(26.0)) == 1
    del chunk


def test_an_engine_that_takes_nothing_holds_on_to_a_bounded_number_of_chunks_and_stops_nobody_else(bench):
    bench.grant("rollout-1")
    held = [bench.ask(8 * index) for index in range(MAX_LENT)]

    assert all(isinstance(chunk, VersionChunk) for chunk in held)
    assert bench.ask(8 * MAX_LENT) is None
    assert isinstance(bench.ask(8 * MAX_LENT, name="rollout-1"), VersionChunk)
    held.pop()
    assert isinstance(bench.ask(8 * MAX_LENT), VersionChunk)


async def test_what_is_held_back_is_simply_not_answered(run):
    async with a_site(run) as site:
        await site.publish(1)
        await site.pull(1, transports=SOCKET)
        site.broadcaster._chunks._lent.add((Incarnation("rollout-0"), PolicyVersion(1), 0))

        question = PullChunk(version=PolicyVersion(1), incarnation=Incarnation("rollout-0"), offset=0, num_bytes=8)
        with pytest.raises(DeadlineError):
            await site.connect().request(question, timeout_s=0.05)
        await asyncio.sleep(0)

        assert site.count('tetrad_broadcast_chunks_total{outcome="held_back"}') == 1
