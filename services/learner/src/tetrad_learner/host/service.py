"""Composition root of a host of the learner: registers, and keeps its part of the set that the coordinator wants.

Without the coordinator for long enough it ends its ranks: they would wait for peers that nobody brings back.
"""

import asyncio
import os
import socket
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

from tetrad_config import HostSettings, RunConfig
from tetrad_learner.host.metrics import HostMetrics
from tetrad_learner.host.part import LocalPart
from tetrad_learner.rank_environment import LOOPBACK, rank_environment
from tetrad_runtime.channels import ChannelMetrics
from tetrad_runtime.exits import ExitCode
from tetrad_runtime.lifecycle import Event, Lifecycle
from tetrad_runtime.network import address_towards, interface_with
from tetrad_runtime.wiring import fault_of, open_transport
from tetrad_telemetry.exporter import Pages, serve
from tetrad_telemetry.logs import get_logger
from tetrad_telemetry.looplag import watch_event_loop
from tetrad_telemetry.metrics import Metrics
from tetrad_transport import Connection
from tetrad_transport.keys import KeyRole
from tetrad_transport.membership import CoordinatorLostError, Member, new_incarnation
from tetrad_weights.sweeping import sweep
from tetrad_wire import Message
from tetrad_wire.messages.membership import Desired, Heartbeat, Hello, Role

log = get_logger(__name__)

# Longer than a coordinator takes to start anew, shorter than its ranks would wait for it.
LOST_AFTER_S: Final = 60.0


async def serve_host(settings: HostSettings, config: RunConfig, drain: asyncio.Event) -> ExitCode:
    """Run ranks as the coordinator says, until the run is over or `drain` is set."""
    transport = open_transport(settings, KeyRole.TRAINER)
    try:
        connection = transport.connect(settings.coordinator, name=settings.name)
        await _Service(settings, config, connection, drain).run()
    except* CoordinatorLostError as lost:
        raise fault_of(lost.exceptions[0]) from lost
    finally:
        transport.close()
    return ExitCode.OK


class _Service:
    """The parts of one process, joined."""

    def __init__(self, settings: HostSettings, config: RunConfig, connection: Connection, drain: asyncio.Event) -> None:
        self._settings = settings
        self._connection = connection
        self._drain = drain
        self._num_ranks = config.trainer.placement.policy_num_gpus_per_node
        self._incarnation = new_incarnation()
        self._lifecycle = Lifecycle()
        self._lifecycle.waits_for("the coordinator")
        self._metrics = Metrics("host", version=version("tetrad-learner"))
        self._channels = ChannelMetrics(self._metrics)
        self._own = HostMetrics(self._metrics)
        interface = interface_towards(settings.coordinator)
        self._part = LocalPart(
            me=self._incarnation,
            run_dir=settings.run_dir,
            environment=rank_environment(settings, os.environ, coordinator=settings.coordinator, interface=interface),
            on_change=lambda: self._member.beat_now(),  # noqa: PLW0108 - the member is made below
            on_started=self._own.sets.inc,
        )
        self._member = Member(
            connection,
            hello=self._hello(),
            pulse=self._pulse,
            on_desired=self._follow,
            on_message=_ignore,
            lost_after_s=LOST_AFTER_S,
        )
        log.info("host_ready", interface=interface, coordinator=settings.coordinator)

    async def run(self) -> None:
        """Serve, then leave in order."""
        pages = Pages(metrics=self._render, health=self._lifecycle.health, readiness=self._lifecycle.readiness)
        async with serve(pages, host=self._settings.metrics_host, port=self._settings.metrics_port):
            async with asyncio.TaskGroup() as tasks:
                part = tasks.create_task(self._part.run(), name="part")
                others = [
                    tasks.create_task(self._member.run(), name="member"),
                    tasks.create_task(watch_event_loop(self._metrics), name="loop-lag"),
                ]
                await self._drain.wait()
                self._lifecycle.handle(Event.ASKED_TO_STOP)
                part.cancel()
                await asyncio.wait({part})
                self._member.leave("drained")
                for task in others:
                    task.cancel()
            self._lifecycle.handle(Event.ENDED)
        # What killed ranks left in shared memory belongs to nobody.
        sweep(self._connection.stamp.run or None)
        self._connection.close()

    def _hello(self) -> Hello:
        return Hello(
            role=Role.HOST,
            name=self._settings.name,
            incarnation=self._incarnation,
            host=socket.gethostname(),
            pid=os.getpid(),
            versions={"tetrad-learner": version("tetrad-learner")},
        )

    def _pulse(self, generation: int) -> Heartbeat:
        return Heartbeat(
            incarnation=self._incarnation,
            generation=generation,
            ranks=self._part.report,
            is_draining=self._drain.is_set(),
        )

    def _follow(self, desired: Desired) -> None:
        self._lifecycle.handle(Event.BECAME_READY)
        self._part.follow(desired.ranks)
        if desired.should_drain or desired.state.is_over:
            self._drain.set()

    def _render(self) -> bytes:
        self._own.ranks.set(self._num_ranks if self._part.is_running else 0)
        self._channels.update("coordinator", self._connection.statistics())
        self._metrics.service_ready.set(int(self._lifecycle.readiness().ok))
        return self._metrics.render()


def interface_towards(coordinator: str) -> str:
    """Return the network interface by which this host reaches the coordinator; loopback where it is on this host."""
    parts = urlsplit(coordinator)
    if parts.scheme != "tcp" or not parts.hostname or not parts.port:
        return LOOPBACK
    return interface_with(address_towards(parts.hostname, parts.port))


def _ignore(message: Message) -> None:
    log.warning("message_unexpected", kind=type(message.body).__name__)
