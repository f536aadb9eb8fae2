"""One launcher from start to end: brings a run up, answers commands, and returns the run's exit code.

Owns the order of things: lock, sweep, runtime directory, guardian, control socket, instances, and back.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tetrad_cli.launch import children, control
from tetrad_cli.launch.claim import claim, remove_free_lock
from tetrad_cli.launch.desk import Desk, Operation
from tetrad_cli.launch.ending import Ending, forget_end, write_end
from tetrad_cli.launch.instance import Host, Instance
from tetrad_cli.launch.launcher_metrics import LauncherMetrics
from tetrad_cli.launch.logfiles import Logs, Rotation
from tetrad_cli.launch.roles import OnExit, Role
from tetrad_cli.launch.runtime_dir import runtime_dir
from tetrad_cli.launch.supervisor import RunEnd, StartFailedError, Supervisor
from tetrad_cli.launch.waiting import cancelled, first_of
from tetrad_cli.launch.watchman import Watchman
from tetrad_cli.troubles.catalog import troubles_in
from tetrad_runtime.clock import MonotonicClock
from tetrad_runtime.exits import ExitCode
from tetrad_telemetry.exporter import serve
from tetrad_telemetry.logs import get_logger
from tetrad_telemetry.looplag import watch_event_loop

TARGETS_NAME: Final = "targets.json"
# Lock files of the learner: its processes are gone, and with them what the files were for.
LEFT_LOCKS: Final = ("coordinator.lock", "ranks.lock")
# A second signal: what is still there has this long.
HURRIED_GRACE_S: Final = 1.0
# A shell's way to say by which signal something ended.
SIGNAL_CODES_FROM: Final = 128
# The view draws its last picture after the end of the run.
VIEW_DEADLINE_S: Final = 5.0

log = get_logger("tetrad_cli.launch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to launch."""

    run: str
    run_dir: Path
    roles: Callable[[Path], Sequence[Role]]
    """Gives the roles once the runtime directory, in which sockets go, is known."""
    env: Mapping[str, str]
    """What every child's environment starts from."""
    announce: Callable[[str], None]
    """Told what the user should see."""
    on_claimed: Callable[[], None] = lambda: None
    """Called once the run directory is ours alone; writes what the processes will read there."""
    on_up: Callable[[], None] = lambda: None
    """Called once, when everything is up."""
    rotation: Rotation = field(default_factory=Rotation)
    operations: Callable[[Path], Mapping[str, Operation]] = lambda _runtime: {}
    """What the control socket understands beside `status`, `scale` and `down`."""
    beside: Callable[[asyncio.Event], Awaitable[None]] | None = None
    """Runs while the run does, for instance a live view; the event says that the run is over."""


def launch(plan: Plan) -> int:
    """Run to the end and return the exit code: the learner's, or that of what went wrong.

    Raises RunBusy when another launcher holds the run directory.
    """
    plan.run_dir.mkdir(parents=True, exist_ok=True)
    with claim(plan.run_dir), runtime_dir(plan.run_dir, os.environ) as runtime:
        for pid in children.sweep(plan.run_dir):
            plan.announce(f"killed pid {pid}, left by an earlier launcher of {plan.run_dir}")
        plan.on_claimed()
        forget_end(plan.run_dir)
        code = asyncio.run(_Session(plan, runtime).run())
        for name in LEFT_LOCKS:
            remove_free_lock(plan.run_dir / name)
        return code


@dataclass(slots=True)
class _Session:
    plan: Plan
    runtime: Path
    phase: str = "starting"
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    metrics: LauncherMetrics | None = None
    interruption: signal.Signals | None = None
    """The signal that ended the run before its time."""

    async def run(self) -> int:
        roles = self.plan.roles(self.runtime)
        async with AsyncExitStack() as stack:
            supervisor = await stack.enter_async_context(self._supervisor(roles))
            await stack.enter_async_context(self._exported(supervisor))
            desk = Desk(
                supervisor,
                run=self.plan.run,
                phase=lambda: self.phase,
                stop=self.stop,
                operations=self.plan.operations(self.runtime),
            )
            await stack.enter_async_context(control.serve(self.plan.run_dir, desk.answer, runtime_dir=self.runtime))
            await stack.enter_async_context(_beside(self.plan))
            self._take_signals()
            try:
                end = await self._until_over(supervisor)
            finally:
                await self._take_down(supervisor)
        code = self._report(end, supervisor)
        write_end(self.plan.run_dir, self._ending(end, code))
        return code

    def _ending(self, end: RunEnd, code: int) -> Ending:
        last = Logs(self.plan.run_dir / "logs").tail(end.culprit, lines=1) if end.culprit is not None else []
        return Ending(code=code, reason=end.reason, culprit=end.culprit, at=time.time(), last_words="".join(last))

    @asynccontextmanager
    async def _supervisor(self, roles: Sequence[Role]) -> AsyncIterator[Supervisor]:
        logs = Logs(self.plan.run_dir / "logs", max_bytes=self.plan.rotation.max_bytes)
        logs.folder.mkdir(exist_ok=True)
        offspring = children.Children(self.plan.run_dir)
        self.metrics = metrics = LauncherMetrics([role.name for role in roles])
        guardian = Watchman(self.plan.run_dir, grace_s=max(role.grace_s for role in roles))
        host = Host(
            children=offspring,
            logs=logs,
            clock=MonotonicClock(),
            env=dict(self.plan.env),
            on_spawn=guardian.add,
            on_gone=guardian.remove,
            # Late: the supervisor is made from the host.
            on_change=lambda: supervisor.write_targets(),  # noqa: PLW0108
            on_restart=metrics.restarted,
        )
        targets = self.plan.run_dir / TARGETS_NAME
        supervisor = Supervisor(roles, host=host, targets_path=targets, run=self.plan.run, announce=self.plan.announce)
        rotation = asyncio.create_task(_rotate(logs, self.plan.rotation.period_s), name="log-rotation")
        try:
            yield supervisor
        finally:
            rotation.cancel()
        # Only now: after an error the guardian is not dismissed, and kills what is left when we are gone.
        guardian.dismiss()

    @asynccontextmanager
    async def _exported(self, supervisor: Supervisor) -> AsyncIterator[None]:
        """Serve the launcher's own metrics within the block."""
        assert self.metrics is not None
        pages = self.metrics.pages(supervisor, phase=lambda: self.phase)
        lag = asyncio.create_task(watch_event_loop(self.metrics.registry), name="loop-lag")
        try:
            async with serve(pages) as supervisor.own_port:
                yield
        finally:
            await cancelled(lag)

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if self.stop.is_set():
            self.hurry.set()
            self.plan.announce("stopping at once")
            return
        self.interruption = signal.Signals(number)
        self.plan.announce(f"{self.interruption.name}: draining; once more stops at once")
        self.stop.set()

    async def _until_over(self, supervisor: Supervisor) -> RunEnd:
        rising = asyncio.create_task(supervisor.up(), name="up")
        stopping = asyncio.create_task(self.stop.wait(), name="stop")
        await first_of(rising, stopping, supervisor.ended)
        if rising.done() and (failure := rising.exception()) is not None:
            return _failed_start(failure, supervisor)
        if rising.done():
            self.phase = "up"
            self.plan.on_up()
            await first_of(stopping, supervisor.ended)
        await cancelled(rising, stopping)
        if supervisor.ended.done():
            return supervisor.ended.result()
        return RunEnd(code=ExitCode.OK, reason="asked to stop", culprit=None, is_early=True)

    async def _take_down(self, supervisor: Supervisor) -> None:
        self.phase = "stopping"
        draining = asyncio.create_task(supervisor.down(), name="down")
        hurry = asyncio.create_task(self.hurry.wait(), name="hurry")
        await first_of(draining, hurry)
        if not draining.done():
            await supervisor.down(grace_s=HURRIED_GRACE_S)
        await draining
        await cancelled(hurry)

    def _report(self, end: RunEnd, supervisor: Supervisor) -> int:
        if end.culprit is not None:
            self.plan.announce(f"run {self.plan.run} failed: {end.culprit}: {end.reason}")
            logs = Logs(self.plan.run_dir / "logs")
            last = logs.tail(end.culprit)
            for line in last:
                self.plan.announce(f"  {end.culprit} | {line}")
            for trouble in troubles_in([end.reason, *last]):
                self.plan.announce(trouble.advice())
            return end.code
        code = end.code or _drained_code(supervisor.instances)
        if code == ExitCode.OK and end.is_early and self.interruption is not None:
            # Whatever was to follow the run, as in `tetrad train … && tetrad eval …`, shall not follow half of one.
            return SIGNAL_CODES_FROM + self.interruption
        return code


def _failed_start(failure: BaseException, supervisor: Supervisor) -> RunEnd:
    if not isinstance(failure, StartFailedError):
        raise failure
    # A run may be over, and well, before everything was ready: then it did not fail.
    if supervisor.ended.done():
        return supervisor.ended.result()
    return RunEnd(code=ExitCode.PEER_LOST, reason=str(failure), culprit=failure.instance)


def _drained_code(instances: Sequence[Instance]) -> int:
    """Return the exit code of the process whose end is the run's, after it was asked to stop."""
    for one in instances:
        if one.role.on_exit is OnExit.ENDS_RUN and one.last_exit is not None:
            return one.last_exit.shell_code
    return ExitCode.OK


@asynccontextmanager
async def _beside(plan: Plan) -> AsyncIterator[None]:
    """Run the view while the block does. A view that breaks costs the view, never the run."""
    if plan.beside is None:
        yield
        return
    is_over = asyncio.Event()
    view = asyncio.ensure_future(plan.beside(is_over))
    try:
        yield
    finally:
        is_over.set()
        await first_of(view, timeout_s=VIEW_DEADLINE_S)
        view.cancel()
        if view.done() and not view.cancelled() and (error := view.exception()) is not None:
            plan.announce(f"the live view broke: {error!r}")


async def _rotate(logs: Logs, period_s: float) -> None:
    while True:
        await asyncio.sleep(period_s)
        try:
            logs.rotate()
        except OSError as error:
            # A disk without room for the copy may have some again later; the logs grow until then.
            log.warning("log_rotation_failed", reason=str(error))
