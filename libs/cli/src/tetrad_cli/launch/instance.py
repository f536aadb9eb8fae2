"""One supervised process: start, watch, restart, stop.

Owns the process and the file of its log. What follows an exit is decided in `restarts.py`; what a role's end means for
the run is decided in `supervisor.py`.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, assert_never

from tetrad_cli.launch import ports, probe
from tetrad_cli.launch.children import Child, Children, Command
from tetrad_cli.launch.logfiles import Logs
from tetrad_cli.launch.restarts import CrashHistory, EndRun, Exit, GiveUp, Restart
from tetrad_cli.launch.roles import OnExit, Role
from tetrad_cli.launch.states import Event, State, after
from tetrad_runtime.clock import Clock
from tetrad_telemetry.logs import get_logger

PROBE_PERIOD_S: Final = 0.1
# SIGKILL is not a request; a process that survives it this long sits in the kernel, and nobody can help.
KILL_DEADLINE_S: Final = 10.0

log = get_logger("tetrad_cli.launch")

Ending = GiveUp | EndRun


@dataclass(slots=True, kw_only=True)
class Host:
    """What all instances of a launcher share."""

    children: Children
    logs: Logs
    clock: Clock
    env: dict[str, str]
    """What every child's environment starts from."""
    on_spawn: Callable[[int], None]
    """Told the pid of each new process, for the guardian."""
    on_gone: Callable[[int], None]
    """Told the pid once the process and all that it left behind are gone."""
    on_change: Callable[[], None]
    """Told after each change of a state or a port."""
    on_restart: Callable[[str], None] = lambda _role: None
    """Told the role of each process that is started again."""
    ports: set[int] = field(default_factory=set)
    """In use by our instances."""


class Instance:
    """One replica of a role."""

    def __init__(self, role: Role, index: int, *, host: Host) -> None:
        self.role: Final = role
        self.index: Final = index
        self.name: Final = role.instance_name(index)
        self.state = State.PENDING
        self.port = 0
        self.restarts = 0
        self.started_at = 0.0
        self.last_exit: Exit | None = None
        self.healthy: Final = asyncio.Event()
        self.ended: Final[asyncio.Future[Ending]] = asyncio.get_running_loop().create_future()
        """Set when no process will come again although nobody asked it to stop."""
        self.stopping: Final = asyncio.Event()
        """Set once it was asked to stop."""
        self.gone: Final = asyncio.Event()
        """Set once no process of it will come any more."""
        self._host = host
        self._child: Child | None = None
        self._is_terminated = False
        self._history = CrashHistory(role.restarts, ends_run=role.on_exit is OnExit.ENDS_RUN)
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The live process, if there is one."""
        return self._child.pid if self._child is not None else None

    @property
    def uptime_s(self) -> float:
        """Age of the live process; 0 without one."""
        return self._host.clock.now() - self.started_at if self._child is not None else 0.0

    def start(self, *, after: "Instance | None" = None) -> None:
        """Begin to keep the process alive, once a namesake that is leaving is gone."""
        self._task = asyncio.create_task(self._keep_alive(after), name=self.name)

    async def stop(self, *, grace_s: float | None = None) -> None:
        """Ask the process to drain; after the grace kill it and all that it started. Returns when it is gone."""
        self._move(Event.ASKED_TO_STOP)
        # Once only: to a service, a second SIGTERM means that it should hurry.
        if self._child is not None and not self._is_terminated:
            self._is_terminated = True
            self._child.terminate()
        self.stopping.set()
        if self._task is None:
            return
        grace = self.role.grace_s if grace_s is None else grace_s
        _done, late = await asyncio.wait({self._task}, timeout=grace)
        if late and self._child is not None:
            log.warning("instance_killed", instance=self.name, pid=self.pid, grace_s=grace)
            self._host.children.kill_remains(self.name, leader=self._child.pid)
            await asyncio.wait({self._task}, timeout=KILL_DEADLINE_S)

    async def let_go(self, *, deadline_s: float) -> bool:
        """Wait for the process to leave by itself, which others have asked it to; return whether it did in time."""
        self._move(Event.ASKED_TO_STOP)
        self.stopping.set()
        if self._task is None:
            return True
        _done, late = await asyncio.wait({self._task}, timeout=deadline_s)
        return not late

    async def _keep_alive(self, former: "Instance | None") -> None:
        if former is not None:
            # It would share its name, its log and its marks; its grace bounds the wait.
            await former.gone.wait()
        while not self.stopping.is_set():
            self.last_exit = await self._one_life()
            if self.stopping.is_set() or not await self._go_on(self.last_exit):
                break
        if not self.state.is_over:
            self._move(Event.ENDED)
        self.gone.set()

    async def _one_life(self) -> Exit:
        child = self._spawn()
        if child is None:
            return Exit(os.EX_OSFILE, 0.0)
        watch = asyncio.create_task(self._until_healthy(child), name=f"{self.name}-probe")
        returncode = await child.exited
        watch.cancel()
        self.healthy.clear()
        # Before anything else may start: what it left behind would share its name, its GPU and its memory.
        self._host.children.kill_remains(self.name, leader=child.pid)
        self._child = None
        self._host.on_gone(child.pid)
        self._host.ports.discard(self.port)
        ending = Exit(returncode, self._host.clock.now() - self.started_at)
        log.info("instance_exited", instance=self.name, pid=child.pid, exit=str(ending))
        return ending

    def _spawn(self) -> Child | None:
        self.port = self.role.port or ports.free_port(self._host.ports)
        self._host.ports.add(self.port)
        self.started_at = self._host.clock.now()
        self._move(Event.SPAWNED)
        env = {**self._host.env, **self.role.environment(self.index, port=self.port)}
        path = self._host.logs.path(self.name)
        try:
            command = Command(name=self.name, argv=self.role.argv, env=env, log_path=path)
            self._child = self._host.children.start(command)
        except OSError as error:
            with path.open("a") as file:
                file.write(f"cannot start {self.role.argv[0]}: {error}\n")
            self._host.ports.discard(self.port)
            return None
        self._host.on_spawn(self._child.pid)
        log.info("instance_started", instance=self.name, pid=self._child.pid, port=self.port)
        return self._child

    async def _until_healthy(self, child: Child) -> None:
        try:
            async with asyncio.timeout(self.role.start_deadline_s):
                await self.wait_for(self.role.health_path)
        except TimeoutError:
            log.warning("instance_never_healthy", instance=self.name, limit_s=self.role.start_deadline_s)
            self._host.children.kill_remains(self.name, leader=child.pid)
            return
        self.healthy.set()
        self._move(Event.HEALTHY)

    async def wait_for(self, path: str) -> None:
        """Wait until this instance's own process says 200 to a GET of the path; the caller sets the deadline."""
        while not await self.answers(path):  # noqa: ASYNC110 - another process holds the condition
            await asyncio.sleep(PROBE_PERIOD_S)

    async def answers(self, path: str) -> bool:
        """Whether this instance's own process says 200 to a GET of the path."""
        child = self._child
        page = await probe.get(self.port, path) if child is not None else None
        if child is None or page is None or not page.is_ok:
            return False
        said = page.fields().get("pid", child.pid)
        # Between our choice of the port and its bind, a stranger may have taken it.
        return isinstance(said, int) and _session_of(said) == child.pid

    async def _go_on(self, ending: Exit) -> bool:
        verdict = self._history.after(ending, now=self._host.clock.now())
        match verdict:
            case Restart(delay_s):
                await self._back_off(delay_s)
                return not self.stopping.is_set()
            case GiveUp() | EndRun():
                log.warning("instance_ended", instance=self.name, reason=verdict.reason)
                self._move(Event.GAVE_UP if isinstance(verdict, GiveUp) else Event.ENDED)
                self.ended.set_result(verdict)
                return False
            case _:
                assert_never(verdict)

    async def _back_off(self, delay_s: float) -> None:
        self.restarts += 1
        self._host.on_restart(self.role.name)
        self._move(Event.CRASHED)
        log.warning("instance_restarts", instance=self.name, delay_s=delay_s, restarts=self.restarts)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self.stopping.wait()

    def _move(self, event: Event) -> None:
        self.state = after(self.state, event)
        self._host.on_change()


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None
