"""Weights in chunks between real processes, over ipc and over a TCP connection that is made slow, wrong and dead."""

import asyncio
import signal

import pytest
from integration.tcp_proxy import a_proxy
from integration.weight_site import LARGE, SOON_S, a_site, kill, until

pytestmark = pytest.mark.timeout(120)

MIDDLE = LARGE.num_bytes // 2


@pytest.mark.parametrize("scheme", ["ipc", "tcp"])
async def test_engines_get_every_version_by_the_transport_they_can_use_late_ones_too(scheme):
    async with a_site(layout=LARGE, scheme=scheme) as site:
        near = await site.start_engine("rollout-0")
        far = await site.start_engine("rollout-1", transports="socket")
        first = await site.publish(1)
        assert await asyncio.gather(near.fetch(1), far.fetch(1)) == [first.digest, first.digest]

        second = await site.publish(2)
        late = await site.start_engine("rollout-2", transports="socket")

        assert await asyncio.gather(*(engine.fetch(2) for engine in (near, far, late))) == [second.digest] * 3
        for transport, num_readings in (("shared_memory", 2), ("socket", 3)):
            read = await site.metric(f'tetrad_broadcast_bytes_total{{transport="{transport}"}}')
            assert read == num_readings * LARGE.num_bytes
        assert await site.metric('tetrad_broadcast_subscribers{state="current"}') == 3
        offers = [line for line in site.log().splitlines() if "version_offered" in line and "rollout-1" in line]
        assert len(offers) == 2
        assert all("socket" in line for line in offers)


async def test_an_engine_that_cannot_reach_the_segment_falls_back_to_chunks():
    async with a_site(layout=LARGE) as site:
        published = await site.publish(1)
        # As on another host: the name leads nowhere.
        (segment,) = site.segments_of_the_broadcaster()
        elsewhere = segment.with_name(f"{segment.name}.hidden")
        engine = await site.start_engine("rollout-0")

        segment.rename(elsewhere)
        engine.order(1)
        await until(lambda: '"transport": "socket"' in site.log(), "the engine has asked again")
        elsewhere.rename(segment)

        await engine.hears("staging 1")
        assert (await engine.hears("fetched 1")).split()[2:] == [published.digest, "socket"]


async def test_a_bit_flipped_in_transit_is_caught_by_the_engine_and_never_staged():
    async with a_site(layout=LARGE, scheme="tcp") as site, a_proxy(site.endpoint) as proxy:
        published = await site.publish(1)
        engine = await site.start_engine("rollout-0", transports="socket", endpoint=proxy.endpoint)
        proxy.flip_at = MIDDLE

        engine.order(1)
        await engine.hears("staging 1")

        assert "DigestMismatchError: tensor layer." in await engine.hears("failed 1")
        assert await engine.fetch(1) == published.digest
        assert await site.metric('tetrad_broadcast_failures_total{reason="given_up"}') == 1


async def test_a_connection_cut_in_mid_transfer_is_made_again_and_the_transfer_goes_on():
    async with a_site(layout=LARGE, scheme="tcp") as site, a_proxy(site.endpoint) as proxy:
        published = await site.publish(1)
        engine = await site.start_engine("rollout-0", transports="socket", endpoint=proxy.endpoint)
        proxy.pause_s = 0.002

        engine.order(1)
        await until(lambda: proxy.num_bytes > MIDDLE, "half of it is through")
        proxy.cut()
        proxy.pause_s = 0.0

        await engine.hears("staging 1")
        assert (await engine.hears("fetched 1")).split()[2] == published.digest


async def test_a_broadcaster_killed_in_mid_transfer_ends_it_and_its_successor_serves_the_version():
    async with a_site(layout=LARGE, scheme="tcp") as site, a_proxy(site.endpoint) as proxy:
        assert site.broadcaster is not None
        published = await site.publish(1)
        engine = await site.start_engine("rollout-0", transports="socket", endpoint=proxy.endpoint)
        proxy.pause_s = 0.005

        engine.order(1)
        await until(lambda: proxy.num_bytes > MIDDLE, "half of it is through")
        await kill(site.broadcaster)
        proxy.pause_s = 0.0
        await site.start_broadcaster()
        await site.publisher.republish(published.version)

        await engine.hears("staging 1")
        assert "TransferBrokenError" in await engine.hears("failed 1")
        assert await engine.fetch(1) == published.digest


async def test_an_engine_killed_in_mid_transfer_loses_its_right_and_costs_nothing():
    async with a_site(layout=LARGE, scheme="tcp") as site:
        await site.publish(1)
        engine = await site.start_engine("rollout-0", transports="socket")
        other = await site.start_engine("rollout-1", transports="socket")

        engine.order(1, order="kill")
        assert await asyncio.wait_for(engine.process.wait(), SOON_S) == -signal.SIGKILL
        for version in (2, 3):
            published = await site.publish(version)
            assert await other.fetch(version) == published.digest

        await until(lambda: "consumer_died" in site.log(), "its death was seen")
        await until(lambda: len(site.segments()) == 4, "the learner and the broadcaster have two segments each")


async def test_a_frozen_engine_is_quarantined_while_others_go_on_and_comes_back():
    async with a_site(layout=LARGE, timeout_s=3.0, scheme="tcp") as site:
        await site.publish(1)
        frozen = await site.start_engine("rollout-frozen", transports="socket")
        other = await site.start_engine("rollout-1", transports="socket")
        await frozen.stops_in_mid_copy(1)

        for version in (2, 3):
            published = await site.publish(version)
            assert await other.fetch(version) == published.digest
        await until(lambda: "consumer_quarantined" in site.log(), "it was silent for too long")
        assert await site.metric('tetrad_broadcast_subscribers{state="quarantined"}') == 1

        frozen.goes_on()
        await frozen.hears("failed 1")
        assert await frozen.fetch(3) == published.digest


async def test_a_transfer_whose_version_is_superseded_ends_at_once():
    async with a_site(layout=LARGE, scheme="tcp") as site, a_proxy(site.endpoint) as proxy:
        await site.publish(1)
        engine = await site.start_engine("rollout-0", transports="socket", endpoint=proxy.endpoint)
        proxy.pause_s = 0.005

        engine.order(1)
        await until(lambda: proxy.num_bytes > MIDDLE // 2, "a quarter of it is through")
        proxy.hold()
        for version in (2, 3):
            published = await site.publish(version)
        proxy.let_go()

        await engine.hears("staging 1")
        assert "VersionSupersededError: version 1 is gone; the broadcaster holds 2, 3" in await engine.hears("failed 1")
        proxy.pause_s = 0.0
        assert await engine.fetch(3) == published.digest


async def test_a_slow_engine_keeps_no_other_waiting():
    async with a_site(layout=LARGE, scheme="tcp") as site, a_proxy(site.endpoint) as proxy:
        first = await site.publish(1)
        slow = await site.start_engine("rollout-slow", transports="socket", endpoint=proxy.endpoint)
        fast = await site.start_engine("rollout-fast", transports="socket")

        slow.order(1)
        await until(lambda: proxy.num_bytes > MIDDLE // 2, "a quarter of it is through")
        proxy.hold()
        assert await fast.fetch(1) == first.digest
        assert await fast.fetch(1) == first.digest
        proxy.let_go()

        await slow.hears("staging 1")
        assert (await slow.hears("fetched 1")).split()[2] == first.digest
