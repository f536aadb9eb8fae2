"""A relay has each wanted version from the run's broadcaster once, and serves it from memory of its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from unit.broadcaster.site import LAYOUT, SOON_S, Site, until

from tetrad_broadcaster.broadcaster import Broadcaster
from tetrad_broadcaster.metrics import BroadcasterMetrics
from tetrad_broadcaster.relay import Relay
from tetrad_telemetry.metrics import Metrics
from tetrad_testing.builders import a_desired
from tetrad_transport import MemoryTransport
from tetrad_weights import Maps, SegmentRing, verify
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.membership import WantedWeights
from tetrad_wire.messages.weights import PublishVersion, VersionOffered, VersionUnavailable, WeightTransport

pytestmark = pytest.mark.timeout(60)
SOCKET = '{transport="socket"}'


class TwoHosts:
    """The run's broadcaster, and a relay that engines of another host ask."""

    def __init__(self, transport: MemoryTransport, run: str) -> None:
        self.main = self._site(transport, run, "broadcaster")
        self.other = self._site(transport, run, "relay")
        self.relay = Relay(
            self.other.broadcaster,
            transport,
            name="relay",
            incarnation=Incarnation("relay"),
            timeout_s=SOON_S,
            metrics=BroadcasterMetrics(Metrics("relay", version="0", scope="relay")),
        )

    def _site(self, transport: MemoryTransport, run: str, name: str) -> Site:
        metrics = Metrics("broadcaster", version="0", scope="broadcast")
        broadcaster = Broadcaster(
            transport.listen(f"memory://{name}"),
            SegmentRing(run=run, incarnation=name),
            timeout_s=SOON_S,
            metrics=BroadcasterMetrics(metrics),
        )
        site = Site(broadcaster, transport, metrics, run)
        site.connect = lambda: transport.connect(f"memory://{name}", name="peer")  # type: ignore[method-assign]
        return site

    def want(self, published: PublishVersion) -> None:
        weights = WantedWeights(version=published.version, digest=published.manifest.digest, step=published.step)
        self.relay.follow(a_desired(broadcaster="memory://broadcaster", weights=weights))

    async def publish(self, version: int) -> PublishVersion:
        published = self.main.a_publish(version)
        await self.main.connect().request(published, timeout_s=SOON_S)
        return published


@contextlib.asynccontextmanager
async def two_hosts(run: str) -> AsyncIterator[TwoHosts]:
    hosts = TwoHosts(MemoryTransport(), run)
    tasks = [asyncio.create_task(part.run()) for part in (hosts.main.broadcaster, hosts.other.broadcaster, hosts.relay)]
    try:
        yield hosts
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        hosts.relay.close()
        for site in (hosts.main, hosts.other):
            site.broadcaster.close()
            for segment in site.segments:
                segment.close()


async def test_engines_of_its_host_read_a_wanted_version_from_its_memory_and_it_came_once(run):
    async with two_hosts(run) as hosts:
        published = await hosts.publish(1)
        hosts.want(published)
        await until(lambda: hosts.other.broadcaster.holds == (1,), "the version at the relay")

        offers = [await hosts.other.pull(1, reader=f"rollout-{number}") for number in range(3)]

        for offer in offers:
            assert isinstance(offer, VersionOffered)
            assert offer.manifest == published.manifest
            assert offer.segment is not None
            maps = Maps()
            with maps.attach(offer.segment) as attachment:
                verify(offer.manifest, attachment.payload)
            maps.close()
        await until(
            lambda: hosts.main.count(f"tetrad_broadcast_bytes_total{SOCKET}") == LAYOUT.num_bytes, "one reading"
        )
        assert hosts.main.count(f"tetrad_broadcast_offers_total{SOCKET}") == 1


async def test_an_engine_that_asks_too_early_is_told_so_and_served_later(run):
    async with two_hosts(run) as hosts:
        early = await hosts.other.pull(1, reader="rollout-0")
        hosts.want(await hosts.publish(1))
        await until(lambda: hosts.other.broadcaster.holds == (1,), "the version at the relay")

        assert isinstance(early, VersionUnavailable)
        assert isinstance(await hosts.other.pull(1, reader="rollout-0"), VersionOffered)


async def test_a_version_that_is_wanted_before_it_can_be_had_is_fetched_once_it_can(run):
    async with two_hosts(run) as hosts:
        published = hosts.main.a_publish(1)
        hosts.want(published)
        await until(lambda: hosts.main.broadcaster.statistics().standings, "the relay's question")

        await hosts.main.connect().request(published, timeout_s=SOON_S)

        await until(lambda: hosts.other.broadcaster.holds == (1,), "the version at the relay")


async def test_newer_versions_follow_and_the_oldest_goes(run):
    async with two_hosts(run) as hosts:
        for version in (1, 2, 3):
            hosts.want(await hosts.publish(version))
            await until(lambda version=version: version in hosts.other.broadcaster.holds, f"version {version}")

        assert hosts.other.broadcaster.holds == (2, 3)
        assert await hosts.other.pull(PolicyVersion(3), transports=(WeightTransport.SOCKET,))
