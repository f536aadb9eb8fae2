"""A broadcaster that runs, a learner's segments and engines that ask, over channels in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from tetrad_broadcaster.broadcaster import Broadcaster
from tetrad_broadcaster.metrics import BroadcasterMetrics
from tetrad_telemetry.metrics import Metrics
from tetrad_transport import Connection, MemoryTransport
from tetrad_weights import Parameter, Segment, SegmentRing, build, lay_out
from tetrad_weights.segments import segment_name
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.weights import PublishVersion, PullVersion, SegmentReleased, WeightTransport

LAYOUT = lay_out([Parameter("a", "float32", (300,)), Parameter("b", "float32", (5,))])
SOON_S = 5.0


@dataclass
class Site:
    """A broadcaster that runs, and ways to talk to it."""

    broadcaster: Broadcaster
    transport: MemoryTransport
    metrics: Metrics
    run: str
    segments: list[Segment] = field(default_factory=list)

    def connect(self) -> Connection:
        return self.transport.connect("memory://broadcaster", name="peer")

    def a_publish(self, version: int, *, seed: int | None = None) -> PublishVersion:
        """A version in a segment of the learner's."""
        segment = Segment(
            segment_name(run=self.run, incarnation="learner", ordinal=len(self.segments)), LAYOUT.num_bytes
        )
        self.segments.append(segment)
        rng = np.random.default_rng(version if seed is None else seed)
        segment.payload[:] = rng.integers(0, 256, LAYOUT.num_bytes, dtype=np.uint8)
        segment.end_writing()
        manifest = build(LAYOUT, segment.payload)
        return PublishVersion(version=PolicyVersion(version), step=version, manifest=manifest, segment=segment.handle)

    async def publish(self, version: int) -> msgspec.Struct:
        return await self.connect().request(self.a_publish(version), timeout_s=SOON_S)

    async def pull(
        self,
        version: int,
        *,
        reader: str = "rollout-0",
        pid: int = 0,
        started: int = 0,
        transports: Sequence[WeightTransport] = (WeightTransport.SHARED_MEMORY,),
    ) -> msgspec.Struct:
        question = PullVersion(
            version=PolicyVersion(version),
            incarnation=Incarnation(reader),
            name=reader,
            pid=pid,
            started=started,
            transports=tuple(transports),
        )
        return await self.connect().request(question, timeout_s=SOON_S)

    def release(self, version: int, digest: str, *, reader: str = "rollout-0", reason: str = "") -> None:
        self.connect().send_nowait(
            SegmentReleased(
                version=PolicyVersion(version), incarnation=Incarnation(reader), digest=digest, reason=reason
            )
        )

    def count(self, series: str) -> float:
        lines = self.metrics.render().decode().splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))


async def until(condition, what: str) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():  # noqa: ASYNC110 - what is waited for is seen from outside only
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def a_site(run: str, *, timeout_s: float = 30.0, limit: int = 4) -> AsyncIterator[Site]:
    transport = MemoryTransport()
    metrics = Metrics("broadcaster", version="0", scope="broadcast")
    ring = SegmentRing(run=run, incarnation="broadcaster", limit=limit)
    broadcaster = Broadcaster(
        transport.listen("memory://broadcaster"), ring, timeout_s=timeout_s, metrics=BroadcasterMetrics(metrics)
    )
    site = Site(broadcaster, transport, metrics, run)
    serving = asyncio.create_task(broadcaster.run())
    try:
        yield site
        assert not serving.done()
    finally:
        serving.cancel()
        await asyncio.wait({serving})
        broadcaster.close()
        for segment in site.segments:
            segment.close()
