"""Without room for a stage a real engine takes versions in its own weights, in parts, while it is paused."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from integration.group_scenarios import events
from integration.weight_site import SOON_S, Site, a_site, until
from unit.rollout.engine_builders import VOCABULARY, a_llama, a_request

from tetrad_learner.publishing import Published
from tetrad_rollout.engine.core import BatchSettings
from tetrad_rollout.engine.live_weights import MARGIN_BYTES
from tetrad_rollout.engine.threaded import ThreadedEngine
from tetrad_rollout.engine.transformers import TransformersRunner
from tetrad_rollout.metrics import RolloutMetrics
from tetrad_rollout.occupation import OccupationClock
from tetrad_rollout.weight_keeper import WeightKeeper
from tetrad_telemetry.metrics import Metrics
from tetrad_transport.membership import new_incarnation
from tetrad_weights import Bytes
from tetrad_weights.group_sides import HOST_BUCKET_BYTES
from tetrad_wire.messages.membership import Certificate, Desired, RunState, WantedWeights
from tetrad_wire.messages.weights import WeightTransport

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

# Of several buckets.
WIDTH = 1024


@dataclass
class Replica:
    """What a rollout has of weights, on a host that has no room for a version beside the live one."""

    site: Site
    transport: WeightTransport
    certificates: list[Certificate | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        model = a_llama(hidden_size=WIDTH, intermediate_size=2 * WIDTH)
        self.runner = TransformersRunner(model, num_threads=1)
        self.engine = ThreadedEngine(
            self.runner, name="engine", settings=BatchSettings(), free_bytes=lambda: MARGIN_BYTES
        )
        self.keeper = WeightKeeper(
            self.engine,
            self.site.transport,
            name="rollout-0",
            incarnation=new_incarnation(),
            timeout_s=SOON_S,
            on_change=self.changed,
            observer=RolloutMetrics(Metrics("rollout", version="0")),
            clock=OccupationClock(),
            transports=(self.transport,),
        )
        self.at_change = lambda: None

    def changed(self) -> None:
        self.certificates.append(self.keeper.certificate)
        self.at_change()

    async def publish(self, version: int) -> Published:
        """The model's weights, a little larger with each version."""

        def fill(buffer: Bytes) -> None:
            self.runner.copy_parameters(buffer)
            buffer.view(np.float32)[:] *= 1.01

        self.site.layout = self.runner.layout
        return await self.site.publish(version, fill=fill)

    def want(self, published: Published) -> None:
        wanted = WantedWeights(version=published.version, step=published.version, digest=published.digest)
        run, endpoint = self.site.registry.run, self.site.endpoint
        self.keeper.follow(
            Desired(generation=1, state=RunState.RUNNING, run=run, broadcaster=endpoint, weights=wanted, heartbeat_s=1)
        )

    async def has(self, published: Published) -> None:
        def is_certified() -> bool:
            certificate = self.keeper.certificate
            return certificate is not None and certificate.digest == published.digest

        await until(is_certified, f"version {published.version} is certified")
        assert await self.engine.weights_digest() == published.digest


@contextlib.asynccontextmanager
async def a_replica(site: Site, transport: WeightTransport) -> AsyncIterator[Replica]:
    replica = Replica(site, transport)
    working = asyncio.create_task(replica.keeper.run())
    try:
        yield replica
    finally:
        working.cancel()
        await asyncio.wait({working})
        await replica.keeper.close()
        await replica.engine.close()


@pytest.mark.parametrize("transport", [WeightTransport.NCCL, WeightTransport.SHARED_MEMORY, WeightTransport.SOCKET])
async def test_versions_come_whatever_the_transport_and_never_beside_the_live_one(transport):
    async with a_site() as site, a_replica(site, transport) as replica:
        assert replica.runner.layout.num_bytes > 2 * HOST_BUCKET_BYTES
        for version in (1, 2):
            published = await replica.publish(version)
            replica.want(published)
            await replica.has(published)

        # Uncertified before the first byte, certified after the probe; once for each version.
        assert [one and one.version for one in replica.certificates] == [None, 1, None, 2]
        assert replica.engine.stage_shortage() > 0
        num_bytes = 2 * replica.runner.layout.num_bytes
        assert await site.metric(f'tetrad_broadcast_bytes_total{{transport="{transport.value}"}}') == num_bytes


async def test_a_broadcaster_killed_in_mid_transfer_leaves_it_uncertified_until_a_whole_version_came():
    async with a_site() as site, a_replica(site, WeightTransport.NCCL) as replica:
        first = await replica.publish(1)
        replica.want(first)
        await replica.has(first)
        second = await replica.publish(2)
        assert site.broadcaster is not None

        # As soon as the first byte of the live weights may change; its sender goes with it.
        replica.at_change = site.broadcaster.kill
        replica.want(second)
        await asyncio.wait_for(site.broadcaster.wait(), SOON_S)
        replica.at_change = lambda: None
        samples = asyncio.create_task(replica.engine.generate(a_request(prompt=[1, 7, VOCABULARY - 1])))
        status = replica.engine.statistics()
        assert (replica.keeper.certificate, status.is_paused, status.weights.is_certified) == (None, True, False)
        await site.start_broadcaster()
        await site.publisher.republish(second.version)
        await replica.has(second)
        drawn = await asyncio.wait_for(samples, SOON_S)
        # None with what was half written over.
        assert {span.version for sample in drawn for span in sample.spans} == {second.version}
        assert len(events(site, "group_formed", replica="rollout-0")) == 2
