"""Composition root of a rollout replica: loads the engine, then registers."""

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tetrad_config import RolloutSettings, RunConfig
from tetrad_config.colocation import shares_gpus
from tetrad_rollout.device_keeper import DeviceKeeper
from tetrad_rollout.engine.catalog import create_engine
from tetrad_rollout.engine.late import LateEngine
from tetrad_rollout.engine.protocol import Engine
from tetrad_rollout.engine.sglang.arguments import UnknownArgumentError
from tetrad_rollout.engine_settings import engine_settings, honours_seeds
from tetrad_rollout.group import Workshop
from tetrad_rollout.metrics import RolloutMetrics
from tetrad_rollout.model_folder import model_folder
from tetrad_rollout.occupation import OccupationClock
from tetrad_rollout.rendering import Renderer, RenderingError, load_tokenizer
from tetrad_rollout.rewards import RewardPool
from tetrad_rollout.service import RolloutService
from tetrad_rollout.weight_keeper import WeightKeeper
from tetrad_rollout.weights.links import Links
from tetrad_runtime.exits import ConfigFault, ExitCode
from tetrad_runtime.wiring import fault_of, open_transport
from tetrad_telemetry.exporter import Health, Pages, serve
from tetrad_telemetry.logs import get_logger
from tetrad_telemetry.looplag import watch_event_loop
from tetrad_telemetry.metrics import Metrics
from tetrad_transport import Connection, ZmqTransport
from tetrad_transport.keys import KeyRole
from tetrad_transport.membership import CoordinatorLostError, Member, new_incarnation
from tetrad_weights.owners import this_process
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.membership import EngineMemory, Hello, Role, RolloutOffer

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Parts:
    """A replica, put together."""

    engine: Engine
    keeper: WeightKeeper
    service: RolloutService
    connection: Connection


class _Exporter:
    """The pages of a replica, from before its engine is loaded."""

    def __init__(self) -> None:
        self.registry = Metrics("rollout", version=version("tetrad-rollout"))
        self.metrics = RolloutMetrics(self.registry)
        self.occupation = OccupationClock()
        self.parts: _Parts | None = None

    def pages(self) -> Pages:
        return Pages(metrics=self._render, health=lambda: Health(ok=True, detail="alive"), readiness=self._readiness)

    def _render(self) -> bytes:
        if self.parts is None:
            return self.registry.render()
        certificate = self.parts.keeper.certificate
        self.registry.service_ready.set(certificate is not None)
        own = self.metrics.render(
            self.parts.engine.statistics(),
            self.occupation,
            self.parts.keeper.links,
            coordinator=self.parts.connection.statistics(),
            version=certificate.version if certificate else 0,
            unacknowledged=len(self.parts.service.outbox),
        )
        return own + self.parts.engine.exported_metrics()

    def _readiness(self) -> Health:
        is_certified = self.parts is not None and self.parts.keeper.certificate is not None
        return Health(ok=is_certified, detail="certified" if is_certified else "waiting for weights")


async def serve_rollout(settings: RolloutSettings, config: RunConfig, drain: asyncio.Event) -> ExitCode:
    """Run one replica until it is asked to leave."""
    exporter = _Exporter()
    async with serve(exporter.pages(), host=settings.metrics_host, port=settings.metrics_port) as port:
        transport = open_transport(settings, KeyRole.ROLLOUT)
        links = Links(settings, config, transport, new_incarnation())
        lag = asyncio.create_task(watch_event_loop(exporter.registry), name="loop-lag")
        try:
            # Before anything that takes minutes and memory.
            if not await _is_checked(links, drain):
                return ExitCode.OK
            model = await asyncio.to_thread(model_folder, config.generator.model_name)
            engine = await _engine(config, model, is_colocated=shares_gpus(config, settings.name))
            try:
                renderer = await asyncio.to_thread(_renderer, config, model)
                hello = _hello(settings, config, links.incarnation, port)
                exporter.parts = _parts(settings, config, engine, renderer, transport, hello, exporter, links)
                # The time of loading is neither work nor a lack of it.
                exporter.occupation.spent()
                await exporter.parts.service.run(drain)
            except* CoordinatorLostError as group:
                raise fault_of(group.exceptions[0]) from group
            finally:
                await engine.close()
        finally:
            lag.cancel()
            await links.close()
            transport.close()
    return ExitCode.OK


async def _is_checked(links: Links, drain: asyncio.Event) -> bool:
    """Whether the links are proved; False where this replica is asked to leave before."""
    checking, asked = asyncio.create_task(links.check()), asyncio.create_task(drain.wait())
    try:
        await asyncio.wait({checking, asked}, return_when=asyncio.FIRST_COMPLETED)
        if checking.done():
            checking.result()
        return checking.done()
    finally:
        checking.cancel()
        asked.cancel()
        await asyncio.gather(checking, asked, return_exceptions=True)


async def _engine(config: RunConfig, model: Path, *, is_colocated: bool) -> Engine:
    """The engine, built now; or one that is built when the learner lends its GPUs."""

    async def build() -> Engine:
        settings = engine_settings(config, model=model, is_colocated=is_colocated)
        try:
            return await asyncio.to_thread(create_engine, config.generator.backend.value, settings)
        except UnknownArgumentError as error:
            # Starting again would not help.
            raise ConfigFault(str(error)) from error

    return LateEngine(build) if is_colocated else await build()


def _parts(
    settings: RolloutSettings,
    config: RunConfig,
    engine: Engine,
    renderer: Renderer,
    transport: ZmqTransport,
    hello: Hello,
    exporter: _Exporter,
    links: Links,
) -> _Parts:
    assert hello.rollout is not None
    keeper = WeightKeeper(
        engine,
        transport,
        name=hello.name,
        incarnation=hello.incarnation,
        timeout_s=config.generator.weight_sync_timeout,
        observer=exporter.metrics,
        clock=exporter.occupation,
        transports=links.transports,
        nccl=links.nccl,
        relay=settings.relay or "",
        on_change=lambda: member.beat_now(),  # noqa: PLW0108 - the member is made below
        memory=EngineMemory.ASLEEP if isinstance(engine, LateEngine) else EngineMemory.AWAKE,
    )
    keeper.links.bytes_per_s.update(links.bytes_per_s)
    device = _device(
        engine,
        keeper,
        hello.incarnation,
        on_lost=lambda: service.forsake_all(),  # noqa: PLW0108 - the service is made below
        on_change=lambda: member.beat_now(),  # noqa: PLW0108 - so is the member
    )
    service = RolloutService(
        incarnation=hello.incarnation,
        credit=hello.rollout.credit,
        keeper=keeper,
        metrics=exporter.metrics,
        occupation=exporter.occupation,
        device=device,
    )
    connection = transport.connect(settings.coordinator, name=hello.name)
    member = Member(
        connection, hello=hello, pulse=service.pulse, on_desired=service.on_desired, on_message=service.on_message
    )
    shop = Workshop(
        engine=engine,
        renderer=renderer,
        rewards=RewardPool(transport, name=hello.name),
        incarnation=hello.incarnation,
        grade_timeout_s=config.reward.grade_timeout,
        max_input_length=config.generator.max_input_length,
        is_non_stop_zeroed=config.generator.zero_reward_on_non_stop,
        deliver=service.deliver,
    )
    service.attach(member, shop)
    return _Parts(engine, keeper, service, connection)


def _device(
    engine: Engine,
    keeper: WeightKeeper,
    incarnation: Incarnation,
    *,
    on_lost: Callable[[], None],
    on_change: Callable[[], None],
) -> DeviceKeeper | None:
    """What obeys the device lease; None for an engine that has its GPUs for itself."""
    if not isinstance(engine, LateEngine):
        return None
    return DeviceKeeper(engine, keeper, incarnation=incarnation, on_lost=on_lost, on_change=on_change)


def _renderer(config: RunConfig, model: Path) -> Renderer:
    try:
        return Renderer(
            load_tokenizer(model),
            max_prompt_length=config.trainer.max_prompt_length,
            template_kwargs=config.generator.chat_template_kwargs,
        )
    except RenderingError as error:
        raise ConfigFault(f"{config.generator.model_name}: {error}") from error


def _hello(settings: RolloutSettings, config: RunConfig, incarnation: Incarnation, port: int) -> Hello:
    generator, is_colocated = config.generator, shares_gpus(config, settings.name)
    return Hello(
        role=Role.ROLLOUT,
        name=settings.name,
        incarnation=incarnation,
        metrics_url=f"http://{settings.metrics_host}:{port}/metrics",
        host=socket.gethostname(),
        pid=os.getpid(),
        rollout=RolloutOffer(
            engine=generator.backend.value,
            credit=max(1, generator.max_num_seqs // generator.n_samples_per_prompt),
            honours_seeds=honours_seeds(config),
            is_deterministic=generator.deterministic,
            is_colocated=is_colocated,
            started=this_process().started if is_colocated else 0,
        ),
    )
