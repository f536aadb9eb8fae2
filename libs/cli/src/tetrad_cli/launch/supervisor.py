"""All instances of a run: brought up in stages, scaled, taken down in reverse, and the end of the run noticed.

Owns the list of instances. Must not know what the roles do; a single process is `instance.py`'s business.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
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
        self.roles: Final = {role.name: role for role in roles}
        self.ended: Final[asyncio.Future[RunEnd]] = asyncio.get_running_loop().create_future()
        """Set when the run is over by itself: its learner left, or a role has nobody left."""
        self.own_port = 0
        """Where the launcher's own metrics are; 0 while nowhere."""
        self._host = host
        self._announce = announce
        self._targets_path = targets_path
        self._run = run
        self._instances: dict[str, list[Instance]] = {role.name: [] for role in roles}
        self._leaving: set[Instance] = set()
        self._locks = {role.name: asyncio.Lock() for role in roles}
        self._is_closing = False

    @property
    def instances(self) -> list[Instance]:
        """All instances, in the order in which roles start; those that are being retired come last."""
        staying = [instance for role in self._by_stage() for instance in self._instances[role.name]]
        return [*staying, *self._leaving]

    def replicas(self, role_name: str) -> int:
        """How many there are to be; those that are being retired do not count."""
        return len(self._instances[role_name])

    async def up(self) -> None:
        """Start stage after stage, each once the one before is healthy, then wait until the work has begun.

        Nobody waits for an optional role; one that fails is announced when it is given up.
        Raises StartFailedError for the first instance that is late or gives up.
        """
        for stage in sorted({role.stage for role in self.roles.values()}):
            roles = [role for role in self.roles.values() if role.stage == stage]
            await all_of(*(self._begin(role) for role in roles))
        await all_of(*(self._settled(instance) for instance in self.instances))

    async def scale(self, role_name: str, replicas: int) -> None:
        """Start or stop replicas, the highest index first; returns when the new are healthy and the old are gone.

        Raises ScaleError for an impossible number, StartFailedError when a new one does not come up.
        """
        role = self._checked(role_name, replicas)
        async with self._locks[role.name]:
            added, removed = self._resize(role, replicas)
            self.write_targets()
            await all_of(*(self._healthy(one) for one in added), *(self._retire(one) for one in removed))

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
        if role.is_optional:
            self._resize(role, role.replicas)
        else:
            await self.scale(role.name, role.replicas)

    def _by_stage(self) -> list[Role]:
        return sorted(self.roles.values(), key=lambda role: role.stage)

    def _checked(self, role_name: str, replicas: int) -> Role:
        role = self.roles.get(role_name)
        if role is None:
            raise ScaleError(f"there is no role {role_name!r}; roles are {', '.join(self.roles)}")
        least, most = role.min_replicas, role.max_replicas
        if not least <= replicas <= most:
            limit = f"{least} to {most} are possible" if most > least else "there is always exactly one"
            raise ScaleError(f"{role_name}={replicas}: {limit}")
        if self._is_closing:
            raise ScaleError("the run is stopping")
        return role

    async def _retire(self, instance: Instance) -> None:
        self._leaving.add(instance)
        await instance.stop()
        self._leaving.discard(instance)
        self.write_targets()

    def _resize(self, role: Role, replicas: int) -> tuple[list[Instance], list[Instance]]:
        present = self._instances[role.name]
        removed = [present.pop() for _ in range(max(0, len(present) - replicas))]
        added = [Instance(role, index, host=self._host) for index in range(len(present), replicas)]
        present.extend(added)
        for instance in added:
            instance.ended.add_done_callback(partial(self._on_ended, instance))
            instance.start()
        return added, removed

    async def _healthy(self, instance: Instance) -> None:
        limit_s = instance.role.start_deadline_s
        await self._await(instance, instance.healthy.wait(), limit_s=limit_s, aim="healthy")

    async def _settled(self, instance: Instance) -> None:
        path = instance.role.settled_path
        if path is not None:
            limit_s = instance.role.settle_deadline_s
            await self._await(instance, instance.wait_for(path), limit_s=limit_s, aim="ready")

    async def _await(self, instance: Instance, condition: Awaitable[object], *, limit_s: float, aim: str) -> None:
        waiting = asyncio.ensure_future(condition)
        await first_of(waiting, instance.ended, timeout_s=limit_s)
        if waiting.done():
            return
        waiting.cancel()
        if instance.ended.done():
            raise StartFailedError(instance.name, f"ended: {instance.ended.result().reason}")
        raise StartFailedError(instance.name, f"was not {aim} within {limit_s:g} s")

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
