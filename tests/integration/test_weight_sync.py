"""Weights from learner to engines with real processes and shared memory: what kills and delays must not break."""

import asyncio
import os
import secrets
import signal

import pytest
import zmq
from integration.weight_site import LARGE, SMALL, SOON_S, a_site, kill, until

from tetrad_runtime.exits import ExitCode
from tetrad_weights.header import HEADER_BYTES
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.membership import RunState

pytestmark = pytest.mark.timeout(120)


async def test_every_engine_gets_what_the_learner_published_late_ones_too():
    async with a_site() as site:
        early = await site.start_engine("rollout-0")
        first = await site.publish(1)
        assert await early.fetch(1) == first.digest

        second = await site.publish(2)
        late = await site.start_engine("rollout-1")

        assert await asyncio.gather(early.fetch(2), late.fetch(2)) == [second.digest, second.digest]
        assert second.digest != first.digest
        await until(lambda: site.registry.holds() == (1, 2), "the heartbeat says what is held")
        assert await site.metric('tetrad_broadcast_versions_total{transport="shared_memory"}') == 2
        assert await site.metric('tetrad_broadcast_subscribers{state="current"}') == 2


async def test_an_engine_that_asks_before_the_version_is_there_gets_it_when_it_is():
    async with a_site() as site:
        engine = await site.start_engine("rollout-0")
        engine.order(1)

        published = await site.publish(1)

        await engine.hears("staging 1")
        assert (await engine.hears("fetched 1")).split()[2] == published.digest


async def test_a_broadcaster_killed_in_mid_publish_is_replaced_and_the_same_version_goes_through():
    async with a_site(layout=LARGE) as site:
        assert site.broadcaster is not None
        publishing = asyncio.create_task(site.publish(1))
        # The learner's own segment, and then the one that the broadcaster clones it into.
        await until(lambda: len(site.segments()) == 2 or publishing.done(), "the clone has begun")
        assert not publishing.done()
        await kill(site.broadcaster)

        stale = set(site.segments())
        await site.start_broadcaster()
        published = await asyncio.wait_for(publishing, SOON_S)

        engine = await site.start_engine("rollout-0")
        assert await engine.fetch(1) == published.digest
        # The learner's is left; that of the killed broadcaster goes with whoever looks first, of this run or another.
        assert len(stale & set(site.segments())) == 1


async def test_a_broadcaster_that_lost_everything_says_so_and_is_given_the_same_bytes_again():
    async with a_site() as site:
        assert site.broadcaster is not None
        published = await site.publish(1)
        await until(lambda: site.registry.holds() == (1,), "the heartbeat says what is held")
        await kill(site.broadcaster)

        await site.start_broadcaster()
        assert site.registry.holds() == ()
        again = await site.publisher.republish(PolicyVersion(1))

        engine = await site.start_engine("rollout-0")
        assert await engine.fetch(1) == again.digest == published.digest


async def test_an_engine_killed_in_mid_copy_costs_nothing():
    async with a_site(layout=LARGE) as site:
        await site.publish(1)
        engine, other = await site.start_engine("rollout-0"), await site.start_engine("rollout-1")

        engine.order(1, order="kill")
        assert await asyncio.wait_for(engine.process.wait(), SOON_S) == -signal.SIGKILL
        for version in (2, 3):
            published = await site.publish(version)
            assert await other.fetch(version) == published.digest

        await until(lambda: "consumer_died" in site.log(), "its death was seen")
        await until(lambda: len(site.segments()) == 4, "the learner and the broadcaster have two segments each")


async def test_two_versions_are_in_flight_and_the_older_one_stays_whole():
    async with a_site(layout=LARGE) as site:
        first = await site.publish(1)
        slow, fast = await site.start_engine("rollout-0"), await site.start_engine("rollout-1")
        await slow.stops_in_mid_copy(1)

        for version in (2, 3):
            published = await site.publish(version)
            assert await fast.fetch(version) == published.digest
        slow.goes_on()

        assert (await slow.hears("fetched 1")).split()[2] == first.digest


async def test_a_slow_engine_is_quarantined_by_name_while_the_others_go_on_and_comes_back():
    async with a_site(layout=LARGE, timeout_s=3.0) as site:
        await site.publish(1)
        slow, fast = await site.start_engine("rollout-slow"), await site.start_engine("rollout-fast")
        await slow.stops_in_mid_copy(1)

        for version in (2, 3):
            published = await site.publish(version)
            assert await fast.fetch(version) == published.digest
        await until(lambda: "consumer_quarantined" in site.log(), "its deadline came")
        for version in (4, 5):
            published = await site.publish(version)
            assert await fast.fetch(version) == published.digest

        quarantine = next(line for line in site.log().splitlines() if "consumer_quarantined" in line)
        assert "rollout-slow" in quarantine
        assert await site.metric('tetrad_broadcast_failures_total{reason="timeout"}') == 1
        assert await site.metric('tetrad_broadcast_subscribers{state="quarantined"}') == 1
        slow.goes_on()
        assert "FetchDeadlineError" in await slow.hears("failed 1")
        assert await slow.fetch(5) == published.digest
        assert await site.metric('tetrad_broadcast_subscribers{state="quarantined"}') == 0


async def test_a_poisoned_byte_is_caught_by_the_engine_and_its_tensor_named():
    async with a_site() as site:
        await site.publish(1)
        with site.segments_of_the_broadcaster()[0].open("r+b") as file:
            file.seek(HEADER_BYTES + SMALL.tensors[1].offset + 5)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))

        engine = await site.start_engine("rollout-0")
        engine.order(1)
        await engine.hears("staging 1")

        assert "DigestMismatchError: tensor norm has digest" in await engine.hears("failed 1")
        await until(lambda: "reading_given_up" in site.log(), "the broadcaster was told")


async def test_a_run_that_is_over_ends_the_broadcaster_in_order():
    async with a_site() as site:
        await site.publish(1)

        site.registry.state = RunState.ENDED

        assert site.broadcaster is not None
        assert await asyncio.wait_for(site.broadcaster.wait(), SOON_S) == ExitCode.OK
        await until(lambda: site.registry.byes, "it said farewell")
        site.registry.state = RunState.RUNNING
        await site.start_broadcaster()


async def test_health_and_readiness_are_answered_by_the_service():
    async with a_site() as site:
        assert site.broadcaster is not None
        for page in ("healthz", "readyz"):
            assert f'"pid": {site.broadcaster.pid}' in await site.page(page)


async def test_frames_that_are_no_messages_harm_nobody():
    async with a_site() as site:
        context = zmq.Context()
        stranger = context.socket(zmq.DEALER)
        stranger.connect(site.endpoint)
        for frames in ([b""], [b"\xc1" * 100], [b"\x80"], [b"\x81\xa1v\xff"] * 5, [secrets.token_bytes(5000)]):
            stranger.send_multipart(frames)

        published = await site.publish(1)

        engine = await site.start_engine("rollout-0")
        assert await engine.fetch(1) == published.digest
        stranger.close(linger=0)
        context.term()
