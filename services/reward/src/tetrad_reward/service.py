"""One reward replica from start to end: workers, graders, registration, pages, and the way out.

Puts the parts together and ends them in order. Decides nothing about episodes.
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from tetrad_reward.choice import Choice
from tetrad_reward.desk import Desk
from tetrad_reward.metrics import RewardMetrics
from tetrad_reward.reception import Reception
from tetrad_reward.requests import Failed
from tetrad_reward.supply import WorkerLimits, WorkersUnavailableError
from tetrad_reward.workers import Workers
from tetrad_runtime.exits import ConfigFault, ExitCode, MachineFault
from tetrad_runtime.lifecycle import Event, Lifecycle, Stage
from tetrad_runtime.wiring import fault_of
from tetrad_telemetry import exporter
from tetrad_telemetry.exporter import Pages
from tetrad_telemetry.logs import get_logger
from tetrad_telemetry.looplag import watch_event_loop
from tetrad_telemetry.metrics import Metrics
from tetrad_transport import Connection, Transport, TransportError
from tetrad_transport.membership import CoordinatorLostError, Member, new_incarnation
from tetrad_wire import Message
from tetrad_wire.messages.leases import FailureKind
from tetrad_wire.messages.membership import Desired, EnvironmentOffer, Heartbeat, Hello, RewardOffer, Role

log = get_logger(__name__)

EXPIRY_PERIOD_S: Final = 10.0
# For episodes under way when the service is asked to leave; afterwards they begin anew on another replica.
DRAIN_S: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a replica stands among the processes of its run."""

    name: str
    bind: str
    coordinator: str
    edition: int = 1
    """Which of the run's reward implementations it is."""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Grading:
    """What a replica grades with."""

    choice: Choice
    num_workers: int
    limits: WorkerLimits


async def serve(transport: Transport, place: Place, grading: Grading, *, stop: asyncio.Event) -> ExitCode:
    """Serve until `stop` is set or the run is over; raises the Fault that says whose fault an early end is."""
    base = Metrics("reward", version=version("tetrad-reward"))
    metrics = RewardMetrics(base)
    async with AsyncExitStack() as stack:
        with _faults(place):
            listener = transport.listen(place.bind)
            stack.callback(listener.close)
            connection = transport.connect(place.coordinator, name=place.name)
            stack.callback(connection.close)
            workers = await stack.enter_async_context(Workers(num_workers=grading.num_workers, limits=grading.limits))
            desk = Desk(workers, grading.choice, observe=metrics.observe)
            offer = await offer_of(desk, grading.choice, edition=place.edition)
            replica = Replica(Reception(listener, desk), connection, workers, metrics, stop)
            port = await stack.enter_async_context(
                exporter.serve(replica.pages(), host=place.metrics_host, port=place.metrics_port)
            )
            log.info("service_started", endpoint=listener.endpoint, metrics_port=port)
            await replica.run(hello_of(place, listener.endpoint, port=port, offer=offer), base)
    return ExitCode.OK


async def offer_of(desk: Desk, choice: Choice, *, edition: int = 1) -> RewardOffer:
    """Load the graders of the run; raises ConfigFault where one cannot be had."""
    environments: list[EnvironmentOffer] = []
    for reference in choice.known_references():
        loaded = await desk.load(reference)
        if isinstance(loaded, Failed):
            fault = MachineFault if loaded.kind is FailureKind.INFRA else ConfigFault
            raise fault(f"grader {reference!r} cannot be used: {loaded.reason}")
        name = choice.env_class if choice.serves_any else reference
        environments.append(
            EnvironmentOffer(name=name, grader_version=loaded.version, is_replayable=loaded.is_replayable)
        )
        log.info("grader_loaded", grader=reference, grader_version=loaded.version)
    return RewardOffer(
        environments=tuple(environments), credit=desk.room, serves_any=choice.serves_any, edition=edition
    )


def hello_of(place: Place, endpoint: str, *, port: int, offer: RewardOffer) -> Hello:
    """Return what this process tells the coordinator about itself."""
    return Hello(
        role=Role.REWARD,
        name=place.name,
        incarnation=new_incarnation(),
        endpoint=endpoint,
        metrics_url=f"http://{place.metrics_host}:{port}/metrics",
        host=socket.gethostname(),
        pid=os.getpid(),
        reward=offer,
        versions={"tetrad-reward": version("tetrad-reward")},
    )


class Replica:
    """One replica while it runs: registered, serving, and listening for the end."""

    def __init__(
        self,
        reception: Reception,
        connection: Connection,
        workers: Workers,
        metrics: RewardMetrics,
        stop: asyncio.Event,
    ) -> None:
        self._reception = reception
        self._connection = connection
        self._workers = workers
        self._metrics = metrics
        self._stop = stop
        self._lifecycle = Lifecycle(on_change=lambda stage: metrics.set_ready(is_ready=stage is Stage.READY))
        self._lifecycle.waits_for("the coordinator")

    def pages(self) -> Pages:
        """Return what /metrics, /healthz and /readyz show."""
        return Pages(metrics=self._page, health=self._lifecycle.health, readiness=self._lifecycle.readiness)

    async def run(self, hello: Hello, base: Metrics) -> None:
        """Serve until asked to leave, then finish what is under way."""
        member = Member(
            self._connection,
            hello=hello,
            pulse=lambda generation: self._pulse(hello, generation),
            on_desired=self._follow,
            on_message=self._pass_over,
        )
        jobs = (self._reception.run(), member.run(), self._workers.watch(), self._expire(), watch_event_loop(base))
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(job) for job in jobs]
            await self._stop.wait()
            await self._drain(member)
            for task in running:
                task.cancel()
        self._lifecycle.handle(Event.ENDED)

    async def _drain(self, member: Member) -> None:
        desk = self._reception.desk
        self._lifecycle.handle(Event.ASKED_TO_STOP)
        desk.is_draining = True
        member.beat_now()
        try:
            async with asyncio.timeout(DRAIN_S):
                await desk.wait_until_finished()
        except TimeoutError:
            log.warning("drain_left_episodes", episodes=desk.num_unfinished, limit_s=DRAIN_S)
        member.leave("drained")
        log.info("service_drained", episodes=desk.num_unfinished)

    def _pulse(self, hello: Hello, generation: int) -> Heartbeat:
        desk = self._reception.desk
        return Heartbeat(
            incarnation=hello.incarnation,
            generation=generation,
            credit=desk.room,
            is_draining=desk.is_draining,
        )

    def _follow(self, desired: Desired) -> None:
        stamp = self._reception.listener.stamp
        stamp.run, stamp.epoch = desired.run, self._connection.stamp.epoch
        if self._lifecycle.stage is Stage.STARTING:
            self._lifecycle.handle(Event.BECAME_READY)
        if desired.should_drain or desired.state.is_over:
            self._stop.set()

    def _pass_over(self, message: Message) -> None:
        log.warning("message_unexpected", kind=type(message.body).__name__)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRY_PERIOD_S)
            expired = self._reception.desk.expire()
            if expired:
                log.info("episodes_expired", episodes=expired)

    def _page(self) -> bytes:
        return self._metrics.page(
            workers=self._workers.statistics(),
            episodes=self._reception.desk.statistics().held,
            queued=self._reception.num_requests,
            channel=self._reception.listener.statistics(),
        )


@contextmanager
def _faults(place: Place) -> Iterator[None]:
    """Say whose fault an error is."""
    try:
        yield
    except* CoordinatorLostError as errors:
        raise fault_of(_first(errors)) from errors
    except* (WorkersUnavailableError, TransportError, OSError) as errors:
        raise MachineFault(f"{place.name}: {_first(errors)}") from errors


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = errors.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
