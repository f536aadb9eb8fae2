"""Answers what comes over the control socket.

Owns nothing: it asks the supervisor and sets the session's stop event.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from tetrad_cli.launch.control import InstanceStatus, Reply, Request
from tetrad_cli.launch.instance import Instance
from tetrad_cli.launch.supervisor import ScaleError, StartFailedError, Supervisor
from tetrad_telemetry.logs import get_logger

log = get_logger("tetrad_cli.launch")


class RefusedError(Exception):
    """An operation of the plan's own cannot be done; the message says why and what would help."""


Operation = Callable[[Supervisor, Request], Awaitable[tuple[str, ...]]]
"""One of the plan's own; returns what the user should know, raises RefusedError."""


class Desk:
    """The launcher's answers to `tetrad status`, `scale` and `down`."""

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        run: str,
        phase: Callable[[], str],
        stop: asyncio.Event,
        operations: Mapping[str, Operation],
    ) -> None:
        self._supervisor = supervisor
        self._operations = operations
        self._run = run
        self._phase = phase
        self._stop = stop

    async def answer(self, request: Request) -> Reply:
        """Do what is asked; a refusal is an answer, not an error."""
        match request.op:
            case "status":
                return self._status()
            case "scale":
                return await self._scale(request.replicas or {})
            case "down":
                self._stop.set()
                return self._status()
            case _ if request.op in self._operations:
                return await self._operate(request)
            case _:
                return Reply(ok=False, error=f"no such request: {request.op}")

    async def _operate(self, request: Request) -> Reply:
        try:
            said = await self._operations[request.op](self._supervisor, request)
        except (RefusedError, ScaleError, StartFailedError) as error:
            return Reply(ok=False, error=str(error))
        return self._status(said)

    async def _scale(self, replicas: Mapping[str, int]) -> Reply:
        if self._stop.is_set():
            return Reply(ok=False, error="the run is stopping")
        notes = []
        try:
            for role, number in replicas.items():
                log.info("scale_asked", role=role, replicas=number)
                notes.append(await self._supervisor.scale(role, number))
        except (ScaleError, StartFailedError) as error:
            return Reply(ok=False, error=str(error))
        return replace(self._status(), note="; ".join(filter(None, notes)))

    def _status(self, said: tuple[str, ...] = ()) -> Reply:
        rows = tuple(row_of(one) for one in self._supervisor.instances)
        return Reply(
            ok=True,
            run=self._run,
            phase=self._phase(),
            pid=os.getpid(),
            instances=rows,
            wanted=self._supervisor.wanted,
            said=said,
        )


def row_of(one: Instance) -> InstanceStatus:
    """Return what `tetrad status` says of an instance."""
    return InstanceStatus(
        name=one.name,
        role=one.role.name,
        index=one.index,
        pid=one.pid,
        port=one.port,
        state=one.state,
        restarts=one.restarts,
        uptime_s=one.uptime_s,
        last_exit=str(one.last_exit) if one.last_exit is not None else None,
        ready_path=one.role.ready_path,
    )
