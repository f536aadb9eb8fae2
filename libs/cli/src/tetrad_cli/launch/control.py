"""The control socket of a run: one JSON line asks, one JSON line answers.

Owns `control.sock` in the run directory. Only the user may connect (0600). What is done is `session.py`'s business.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tetrad_cli.launch.runtime_dir import MAX_SOCKET_PATH_BYTES

SOCKET_NAME: Final = "control.sock"
MAX_LINE_BYTES: Final = 1 << 20
READ_DEADLINE_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a command asks of the launcher."""

    op: str
    """`status`, `scale`, `down`, or one of the plan's own."""
    replicas: dict[str, int] | None = None
    """For `scale`: how many of each role."""
    words: tuple[str, ...] = ()
    """What one of the plan's own is about."""
    deadlines_s: dict[str, float] | None = None
    """How long each part of one of the plan's own may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStatus:
    """One row of `tetrad status`."""

    name: str
    role: str
    index: int
    pid: int | None
    port: int
    state: str
    restarts: int
    uptime_s: float
    last_exit: str | None
    ready_path: str = "/readyz"
    """Where it says whether it does its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the launcher answers."""

    ok: bool
    error: str = ""
    run: str = ""
    phase: str = ""
    pid: int = 0
    note: str = ""
    """What the asker should know besides."""
    instances: tuple[InstanceStatus, ...] = ()
    wanted: dict[str, int] = field(default_factory=dict)
    """By role, how many processes there should be."""
    said: tuple[str, ...] = ()
    """What the user should know of how it went."""


class ControlError(Exception):
    """The launcher could not be asked, or it refused."""


Answer = Callable[[Request], Awaitable[Reply]]


@asynccontextmanager
async def serve(run_dir: Path, answer: Answer, *, runtime_dir: Path) -> AsyncIterator[None]:
    """Answer requests within the block.

    Where the run directory's path is too long for a socket, the socket is in the runtime directory and `control.sock`
    is a link to it.
    """
    named = run_dir / SOCKET_NAME
    bound = named if is_short(named) else runtime_dir / SOCKET_NAME

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _converse(answer, reader, writer)

    named.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(connected, bound, limit=MAX_LINE_BYTES)
    bound.chmod(0o600)
    if bound != named:
        named.symlink_to(bound)
    try:
        async with server:
            yield
    finally:
        named.unlink(missing_ok=True)


async def ask(run_dir: Path, request: Request, *, deadline_s: float) -> Reply:
    """Send a request to the launcher of a run; raises ControlError when there is no answer in time or a refusal."""
    try:
        async with asyncio.timeout(deadline_s):
            reply = await _exchange(_target(run_dir / SOCKET_NAME), request)
    except TimeoutError:
        raise ControlError(f"the launcher of {run_dir} did not answer within {deadline_s:g} s") from None
    except (OSError, ValueError, TypeError) as error:
        raise ControlError(f"the launcher of {run_dir} cannot be asked: {error}") from error
    if not reply.ok:
        raise ControlError(reply.error)
    return reply


def is_short(path: Path) -> bool:
    """Whether a local socket may have this name."""
    return len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES


def _target(named: Path) -> Path:
    return named.resolve() if named.is_symlink() else named


async def _exchange(path: Path, request: Request) -> Reply:
    reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE_BYTES)
    try:
        writer.write(_line(asdict(request)))
        await writer.drain()
        fields = json.loads(await reader.readline() or b"null")
        rows = tuple(InstanceStatus(**row) for row in fields.pop("instances"))
        said = tuple(fields.pop("said"))
        return Reply(**fields, instances=rows, said=said)
    finally:
        writer.close()


async def _converse(answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(READ_DEADLINE_S):
            line = await reader.readline()
        writer.write(_line(asdict(await _answered(answer, line))))
        await writer.drain()
    except (TimeoutError, ConnectionError, ValueError):
        writer.transport.abort()  # slow, gone, or a line beyond the limit
    finally:
        writer.close()


async def _answered(answer: Answer, line: bytes) -> Reply:
    try:
        request = Request(**json.loads(line))
    except (ValueError, TypeError) as error:
        return Reply(ok=False, error=f"not a request: {error}")
    return await answer(request)


def _line(fields: dict[str, object]) -> bytes:
    return json.dumps(fields).encode() + b"\n"
