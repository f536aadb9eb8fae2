"""Composition root of the broadcaster: build, wire, run, drain. No decisions."""

import asyncio
import os
import socket
from importlib.metadata import version as distribution_version
from typing import Final

from tetrad_broadcaster.broadcaster import Broadcaster
from tetrad_broadcaster.metrics import BroadcasterMetrics
from tetrad_broadcaster.relay import Relay
from tetrad_config import BroadcasterSettings, RunConfig
from tetrad_runtime.channels import ChannelMetrics
from tetrad_runtime.exits import MachineFault
from tetrad_runtime.lifecycle import Event, Lifecycle
from tetrad_runtime.wiring import fault_of, open_transport
from tetrad_telemetry.context import bind
from tetrad_telemetry.exporter import Pages, serve
from tetrad_telemetry.logs import get_logger
from tetrad_telemetry.looplag import watch_event_loop
from tetrad_telemetry.metrics import Metrics
from tetrad_transport import Listener, TransportError, ZmqTransport
from tetrad_transport.keys import KeyRole
from tetrad_transport.membership import CoordinatorLostError, Member, new_incarnation
from tetrad_weights.ring import SegmentRing
from tetrad_weights.sweeping import sweep
from tetrad_wire import Message
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.membership import Desired, Heartbeat, Hello, Role

# A reader that has mapped a segment keeps it after we are gone; this is for those that are about to.
DRAIN_READERS_S: Final = 5.0

log = get_logger(__name__)


async def run(settings: BroadcasterSettings, config: RunConfig, drain: asyncio.Event) -> None:
    """Serve until asked to drain or until the run is over; raise a Fault where the cause is not ours."""
    transport = open_transport(settings, KeyRole.BROADCASTER)
    try:
        listener = _listen(transport, settings.bind)
        await _Service(settings, config, transport, listener, drain).run()
    except* CoordinatorLostError as lost:
        raise fault_of(lost.exceptions[0]) from lost
    finally:
        transport.close()


def _listen(transport: ZmqTransport, endpoint: str) -> Listener:
    try:
        return transport.listen(endpoint)
    except TransportError as error:
        raise MachineFault(str(error)) from error


class _Service:
    """The parts of one process, joined."""

    def __init__(
        self,
        settings: BroadcasterSettings,
        config: RunConfig,
        transport: ZmqTransport,
        listener: Listener,
        drain: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._listener = listener
        self._drain = drain
        self._incarnation = new_incarnation()
        self._lifecycle = Lifecycle()
        self._lifecycle.waits_for("the coordinator")
        self._registry = Metrics("broadcaster", version=distribution_version("tetrad-broadcaster"), scope="broadcast")
        self._metrics = BroadcasterMetrics(self._registry)
        self._channels = ChannelMetrics(self._registry)
        self._ring = SegmentRing(run=settings.run_dir.name, incarnation=self._incarnation)
        self._broadcaster = Broadcaster(
            listener,
            self._ring,
            timeout_s=config.generator.weight_sync_timeout,
            metrics=self._metrics,
            on_change=self._on_change,
            incarnation=self._incarnation,
            group_host=settings.group_host,
        )
        self._relay: Relay | None = None
        if settings.is_relay:
            self._relay = Relay(
                self._broadcaster,
                transport,
                name=settings.name,
                incarnation=self._incarnation,
                timeout_s=config.generator.weight_sync_timeout,
                metrics=self._metrics,
            )
        self._member: Member | None = None

    async def run(self) -> None:
        """Serve, then leave in order."""
        _sweep()
        pages = Pages(metrics=self._render, health=self._lifecycle.health, readiness=self._lifecycle.readiness)
        try:
            async with serve(pages, host=self._settings.metrics_host, port=self._settings.metrics_port) as port:
                await self._serve(port)
        finally:
            if self._relay is not None:
                self._relay.close()
            self._broadcaster.close()
            self._listener.close()

    async def _serve(self, metrics_port: int) -> None:
        connection = self._transport.connect(self._settings.coordinator, name=self._settings.name)
        self._member = member = Member(
            connection,
            hello=self._hello(f"http://{self._settings.metrics_host}:{metrics_port}"),
            pulse=self._pulse,
            on_desired=self._follow,
            on_message=_ignore,
        )
        log.info("service_started", endpoint=self._listener.endpoint, metrics_port=metrics_port)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(member.run(), name="member"),
                tasks.create_task(self._broadcaster.run(), name="broadcaster"),
                tasks.create_task(watch_event_loop(self._registry), name="loop-lag"),
            ]
            if self._relay is not None:
                running.append(tasks.create_task(self._relay.run(), name="relay"))
            await self._drain.wait()
            await self._leave(member)
            for task in running:
                task.cancel()
        connection.close()

    async def _leave(self, member: Member) -> None:
        self._lifecycle.handle(Event.ASKED_TO_STOP)
        member.beat_now()
        is_idle = await self._broadcaster.drain(timeout_s=DRAIN_READERS_S)
        log.info("service_left", is_idle=is_idle)
        member.leave("drained")
        self._lifecycle.handle(Event.ENDED)

    def _hello(self, metrics_url: str) -> Hello:
        return Hello(
            role=Role.RELAY if self._settings.is_relay else Role.BROADCASTER,
            name=self._settings.name,
            incarnation=self._incarnation,
            endpoint=self._listener.endpoint,
            metrics_url=metrics_url,
            host=socket.gethostname(),
            pid=os.getpid(),
            versions={"tetrad-broadcaster": distribution_version("tetrad-broadcaster")},
        )

    def _pulse(self, generation: int) -> Heartbeat:
        return Heartbeat(
            incarnation=Incarnation(self._incarnation),
            generation=generation,
            holds=self._broadcaster.holds,
            is_draining=self._drain.is_set(),
        )

    def _follow(self, desired: Desired) -> None:
        if not self._listener.stamp.run:
            bind(run=desired.run)
            log.info("service_registered", run=desired.run)
        self._listener.stamp.run = self._ring.run = desired.run
        self._lifecycle.handle(Event.BECAME_READY)
        if self._relay is not None:
            self._relay.follow(desired)
        if desired.should_drain or desired.state.is_over:
            self._drain.set()

    def _on_change(self) -> None:
        if self._member is not None:
            self._member.beat_now()

    def _render(self) -> bytes:
        self._metrics.show(self._broadcaster.statistics())
        self._channels.update("broadcaster", self._listener.statistics())
        self._registry.service_ready.set(int(self._lifecycle.readiness().ok))
        return self._registry.render()


def _sweep() -> None:
    stale = sweep()
    if stale:
        log.warning("stale_segments_removed", segments=list(stale))


def _ignore(message: Message) -> None:
    log.warning("message_unexpected", kind=type(message.body).__name__)
