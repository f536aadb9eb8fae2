"""All instances of a run: brought up in stages, scaled, taken down in reverse, and the end of the run noticed.

Owns the list of instances. Must not know what the roles do; a single process is `instance.py`'s business.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tetrad_cli.launch.instance import Ending, Host, Instance
from tetrad_cli.launch.restarts import EndRun, GiveUp
from tetrad_cli.launch.roles import Role
from tetrad_cli.launch.targets import Target, write_targets
from tetrad_cli.launch.waiting import all_of, first_of
from tetrad_telemetry.logs import get_logger

# Of the launcher itself, as a target.
OWN_ROLE: Final = "launcher"

log = get_logger("tetrad_cli.launch")

READY_PATH: Final = "/readyz"


class StartFailedError(Exception):
    """An instance was not ready in time or gave up; carries its name, for the tail of its log."""

    def __init__(self, instance: str, reason: str) -> None:
        super().__init__(f"{instance} {reason}")
        self.instance = instance


class ScaleError(ValueError):
    """The number of replicas that was asked for is not possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """Why the run is over."""

    code: int
    reason: str
    culprit: str | None
    """The instance whose log explains it; None when nothing went wrong."""
    is_early: bool = False
    """Whether somebody asked for it before the run was over."""


class Supervisor:
    """Keeps the replicas of several roles."""

    def __init__(
        self, roles: Sequence[Role], *, host: Host, targets_path: Path, run: str, announce: Callable[[str], None]
    ) -> None:
        self.roles: Final[dict[str, Role]] = {role.name: role for role in roles}
        self.ended: Final[asyncio.Future[RunEnd]] = asyncio.get_running_loop().create_future()
        """Set when the run is over by itself: its learner left, or a role has nobody left."""
        self.own_port = 0
        """Where the launcher's own metrics are; 0 while nowhere."""
        self._host = host
        self._announce = announce
        self._targets_path = targets_path
        self._run = run
        self._instances: dict[str, list[Instance]] = {role.name: [] for role in roles}
        self._beside: list[Instance] = []
        """Of a role that is to take another's place."""
        self._leaving: dict[Instance, None] = {}
        """Asked to stop and not gone yet, in the order in which they were asked."""
        self._wanted = {role.name: role.replicas for role in roles}
        self._begun: set[str] = set()
        """Roles whose stage has come."""
        self._held: set[str] = set()
        """Roles whose replicas are being replaced."""
        self._is_closing = False

    @property
    def instances(self) -> list[Instance]:
        """All instances, in the order in which roles start; those that are being retired come last."""
        staying = [instance for role in self._by_stage() for instance in self._instances[role.name]]
        return [*staying, *self._beside, *self._leaving]

    @property
    def wanted(self) -> dict[str, int]:
        """By role, how many there should be, whether their turn to start has come or not."""
        return dict(self._wanted)

    def replicas(self, role_name: str) -> int:
        """How many there are to be; those that are being retired do not count."""
        return len(self._instances[role_name])

    async def up(self) -> None:
        """Start stage after stage, each once the one before is healthy, then wait until the work has begun.

        Nobody waits for an optional role; one that fails is announced when it is given up.
        Raises StartFailedError for the first instance that is late or gives up.
        """
        for stage in sorted({role.starts_with for role in self.roles.values()}):
            await all_of(*(self._begin(role) for role in self.roles.values() if role.starts_with == stage))
        await all_of(*(self._settled(instance) for instance in self.instances))

    async def scale(self, role_name: str, replicas: int) -> str:
        """Start or stop replicas, the highest index first; returns when the new are healthy and the old are gone.

        Before the stage of the role has come it is only noted; the text says so, and is empty otherwise.
        Raises ScaleError for an impossible number, and where another one was asked for meanwhile; StartFailedError when
        a new replica does not come up.
        """
        role = self._checked(role_name, replicas)
        self._wanted[role_name] = replicas
        if role_name not in self._begun:
            return f"the run is still starting: {replicas} of {role_name} will start when their turn comes"
        added, removed = self._resize(role, replicas)
        self.write_targets()
        await all_of(*(self._healthy(one) for one in added), *(self._retire(one) for one in removed))
        return ""

    @contextmanager
    def holding(self, role_name: str) -> Iterator[None]:
        """Within the block the role is not scaled. Raises ScaleError before its stage has come."""
        if role_name not in self._begun:
            raise ScaleError(f"the run is still starting; ask again once {role_name} is up")
        self._held.add(role_name)
        try:
            yield
        finally:
            self._held.discard(role_name)

    async def start_beside(self, role: Role, *, deadline_s: float) -> None:
        """Start the replicas of a role that is to take the place of the one with its name, and wait until they work.

        Raises StartFailedError, and ScaleError while the run is stopping; then nothing of it is left.
        """
        if self._is_closing:
            raise ScaleError("the run is stopping")
        self._beside = [Instance(role, index, host=self._host) for index in range(role.replicas)]
        for instance in self._beside:
            instance.start()
        try:
            await all_of(*(self._working(instance, deadline_s=deadline_s) for instance in self._beside))
        except BaseException:
            await self.drop_beside()
            raise

    async def drop_beside(self) -> None:
        """Stop what was started beside a role."""
        await asyncio.gather(*(self._retire(one) for one in self._beside))
        self._beside = []

    def replace(self, role: Role) -> list[Instance]:
        """Put what was started beside a role in its place; return the old instances, which the caller has to let go."""
        old, self._instances[role.name] = self._instances[role.name], self._beside
        self._beside = []
        self.roles[role.name] = role
        self._wanted[role.name] = role.replicas
        for instance in self._instances[role.name]:
            # One that has given up in between is told of at once.
            instance.ended.add_done_callback(partial(self._on_ended, instance))
        self._leaving.update(dict.fromkeys(old))
        self.write_targets()
        return old

    async def let_go(self, instance: Instance, *, deadline_s: float) -> bool:
        """Wait until a replaced instance has left by itself, then stop it; return whether it did in time."""
        is_gone = await instance.let_go(deadline_s=deadline_s)
        await self._retire(instance)
        return is_gone

    async def down(self, *, grace_s: float | None = None) -> None:
        """Stop every instance, the last stage first; each has the grace of its role unless one is given."""
        self._is_closing = True
        for stage in sorted({role.stage for role in self.roles.values()}, reverse=True):
            going = [one for one in self.instances if one.role.stage == stage]
            await asyncio.gather(*(one.stop(grace_s=grace_s) for one in going))
        self.write_targets()

    def write_targets(self) -> None:
        """Tell Prometheus which ports there are."""
        found = [
            Target(role=one.role.name, name=one.name, port=one.port)
            for one in self.instances
            if one.port and one.role.is_scraped and not one.state.is_over
        ]
        if self.own_port:
            found.append(Target(role=OWN_ROLE, name=OWN_ROLE, port=self.own_port))
        write_targets(self._targets_path, found, run=self._run)

    async def _begin(self, role: Role) -> None:
        """Start the replicas of a role; those that are scaled away meanwhile, and optional ones, are not waited for."""
        self._begun.add(role.name)
        added, _none = self._resize(role, self._wanted[role.name])
        self.write_targets()
        if not role.is_optional:
            await all_of(*(self._healthy_or_leaving(one) for one in added))

    async def _healthy_or_leaving(self, instance: Instance) -> None:
        with suppress(ScaleError):
            await self._healthy(instance)

    def _by_stage(self) -> list[Role]:
        return sorted(self.roles.values(), key=lambda role: role.stage)

    def _checked(self, role_name: str, replicas: int) -> Role:
        role = self.roles.get(role_name)
        if role is None:
            raise ScaleError(f"there is no role {role_name!r}; roles are {', '.join(self.roles)}")
        if role.outside:
            raise ScaleError(f"{role_name}={replicas}: {role.outside}")
        if not role.min_replicas <= replicas <= role.max_replicas:
            raise ScaleError(f"{role_name}={replicas}: {_limit(role)}")
        if self._is_closing:
            raise ScaleError("the run is stopping")
        if role_name in self._held:
            raise ScaleError(f"{role_name}={replicas}: its replicas are being replaced; ask again when that is done")
        return role

    async def _retire(self, instance: Instance) -> None:
        self._leaving.setdefault(instance)
        await instance.stop()
        self._leaving.pop(instance, None)
        self.write_targets()

    def _resize(self, role: Role, replicas: int) -> tuple[list[Instance], list[Instance]]:
        present = self._instances[role.name]
        removed = [present.pop() for _ in range(max(0, len(present) - replicas))]
        self._leaving.update(dict.fromkeys(removed))
        added = [Instance(role, index, host=self._host) for index in range(len(present), replicas)]
        present.extend(added)
        for instance in added:
            instance.ended.add_done_callback(partial(self._on_ended, instance))
            namesakes = [one for one in self._leaving if one.name == instance.name]
            # The last to leave waits for those before it.
            instance.start(after=namesakes[-1] if namesakes else None)
        return added, removed

    async def _healthy(self, instance: Instance) -> None:
        limit_s = instance.role.start_deadline_s
        await self._await(instance, instance.healthy.wait(), limit_s=limit_s, aim="healthy")

    async def _working(self, instance: Instance, *, deadline_s: float) -> None:
        async def until_ready() -> None:
            await instance.healthy.wait()
            await instance.wait_for(READY_PATH)

        await self._await(instance, until_ready(), limit_s=deadline_s, aim="ready")

    async def _settled(self, instance: Instance) -> None:
        path = instance.role.settled_path
        if path is not None:
            limit_s = instance.role.settle_deadline_s
            await self._await(instance, instance.wait_for(path), limit_s=limit_s, aim="ready")

    async def _await(self, instance: Instance, condition: Awaitable[object], *, limit_s: float, aim: str) -> None:
        waiting, leaving = asyncio.ensure_future(condition), asyncio.ensure_future(instance.stopping.wait())
        await first_of(waiting, leaving, instance.ended, timeout_s=limit_s)
        is_leaving = leaving.done()
        leaving.cancel()
        if waiting.done():
            return
        waiting.cancel()
        if is_leaving:
            raise ScaleError(f"{instance.name} was asked to stop before it was {aim}: {self._why_it_leaves(instance)}")
        if instance.ended.done():
            raise StartFailedError(instance.name, f"ended: {instance.ended.result().reason}")
        raise StartFailedError(instance.name, f"was not {aim} within {limit_s:g} s")

    def _why_it_leaves(self, instance: Instance) -> str:
        if self._is_closing:
            return "the run is stopping"
        return f"{instance.role.name}={self._wanted[instance.role.name]} was asked for meanwhile"

    def _on_ended(self, instance: Instance, ended: asyncio.Future[Ending]) -> None:
        ending = ended.result()
        if isinstance(ending, GiveUp):
            self._announce(f"{instance.name} is given up: {ending.reason}")
            for line in self._host.logs.tail(instance.name):
                self._announce(f"  {instance.name} | {line}")
        if self.ended.done() or instance.role.is_optional:
            return
        if isinstance(ending, EndRun):
            culprit = instance.name if ending.code else None
            self.ended.set_result(RunEnd(code=ending.code, reason=ending.reason, culprit=culprit))
        elif all(one.ended.done() for one in self._instances[instance.role.name]):
            code = instance.last_exit.shell_code if instance.last_exit is not None else 1
            reason = f"no {instance.role.name} is left: {ending.reason}"
            self.ended.set_result(RunEnd(code=code or 1, reason=reason, culprit=instance.name))


def _limit(role: Role) -> str:
    least, most = role.min_replicas, role.max_replicas
    if most > least:
        possible = f"{least} to {most} are possible"
    else:
        possible = "no more than 1 is possible" if role.why_no_more else "there is always exactly one"
    return f"{role.why_no_more}: {possible}" if role.why_no_more else possible
