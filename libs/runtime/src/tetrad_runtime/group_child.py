"""A service's end of a child that moves weights: orders out, answers in, each under a deadline, killed when late.

Whoever owns one of these may end it at any moment: the child holds a copy of bytes and a communicator, nothing else.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Final, TypeVar

import msgspec

from tetrad_telemetry.logs import get_logger
from tetrad_weights.errors import GroupBrokenError, GroupUnusableError
from tetrad_weights.group_orders import (
    Answer,
    At,
    Clone,
    Export,
    Failed,
    Form,
    Listen,
    Order,
    Phase,
    Ready,
    Receive,
    ReceivePart,
    Send,
    ToHost,
    answer_in,
    line_of,
)
from tetrad_wire.messages.groups import GroupSide

# A handle and a few numbers; far less than this.
MAX_LINE_BYTES: Final = 1 << 20
KILL_S: Final = 10.0
REMEDY: Final = "install tetrad-broadcaster[groups]"
PROGRAMS: Final = "tetrad_devices"
"""Distribution of the programs; named, never imported, since torch is only in the child."""

FIRST_PHASE: Final[Mapping[type[Order], Phase]] = {
    Listen: Phase.LISTEN,
    Form: Phase.CONNECT,
    Send: Phase.MEMORY,
    Receive: Phase.MEMORY,
    ReceivePart: Phase.MEMORY,
    Clone: Phase.MEMORY,
    Export: Phase.MEMORY,
    ToHost: Phase.MEMORY,
}
"""What an order begins with."""

A = TypeVar("A", bound=msgspec.Struct)

log = get_logger(__name__)


class GroupChild:
    """One process of `tetrad_devices.groups`. One order at a time."""

    def __init__(self, process: asyncio.subprocess.Process, *, peer: str) -> None:
        self._process = process
        self._peer = peer
        self._at = At(phase=Phase.START)
        self._is_asking = asyncio.Lock()
        self.side = GroupSide(backend="")
        """What it brings into a group."""

    @classmethod
    async def start(
        cls, program: str, arguments: Sequence[str], *, peer: str, environment: Mapping[str, str], timeout_s: float
    ) -> "GroupChild":
        """Start `tetrad_devices.groups.PROGRAM` and wait until it is ready; for groups with `peer`.

        Raises:
            GroupUnusableError: it cannot run here.
            GroupBrokenError: it was not ready in time.
        """
        if find_spec(PROGRAMS) is None:
            raise GroupUnusableError(peer=peer, reason=f"{PROGRAMS} is not installed here; {REMEDY}")
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", f"{PROGRAMS}.groups.{program}", *arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=dict(environment),
                limit=MAX_LINE_BYTES,
                # Not the terminal's Ctrl-C: the service says when it ends.
                start_new_session=True,
            )
        except OSError as error:
            raise GroupUnusableError(peer=peer, reason=f"no process can be started here: {error}") from error
        child = cls(process, peer=peer)
        try:
            child.side = (await child._answered(Ready, timeout_s=timeout_s)).side
        except GroupBrokenError as error:
            # What ends while it loads would end again.
            raise (error if child.is_alive else GroupUnusableError(peer=peer, reason=error.reason)) from None
        finally:
            if not child.side.backend:
                await child.kill()
        return child

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self._process.returncode is None

    @property
    def at(self) -> str:
        """How far it is with its last order: `rendezvous`, `bucket 2 of 6`."""
        return str(self._at)

    async def ask(self, order: Order, expected: type[A], *, timeout_s: float) -> A:
        """Have an order obeyed. Whatever else comes of it than the expected answer, the child is killed.

        Raises:
            GroupUnusableError: memory is short, so that no other child could obey either.
            GroupBrokenError: it failed, ended, or was late; what it was about is named.
        """
        async with self._is_asking:
            try:
                return await self._asked(order, expected, timeout_s=timeout_s)
            except BaseException:
                await self.kill()
                raise

    def let_go(self) -> None:
        """Give no more orders: it ends once it has obeyed the last one."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill_now(self) -> None:
        """End it at once, frozen or not; idempotent."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self.let_go()

    async def kill(self) -> None:
        """End it at once and wait until it is gone; idempotent."""
        self.kill_now()
        # Its memory is free only when it is gone; SIGKILL waits for nobody but the driver.
        ending = asyncio.ensure_future(self._process.wait())
        if not (await asyncio.wait({ending}, timeout=KILL_S))[0]:
            log.error("child_not_gone", pid=self.pid, peer=self._peer, limit_s=KILL_S)

    async def _asked(self, order: Order, expected: type[A], *, timeout_s: float) -> A:
        began = time.monotonic()
        # What it was about before is not what it will hang in.
        self._at = At(phase=FIRST_PHASE[type(order)])
        assert self._process.stdin is not None
        self._process.stdin.write(line_of(order))
        return await self._answered(expected, timeout_s=timeout_s, began=began)

    async def _answered(self, expected: type[A], *, timeout_s: float, began: float | None = None) -> A:
        began = time.monotonic() if began is None else began
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._next()
        except TimeoutError:
            raise self._broken(f"no answer within {timeout_s:.1f} s; killed", began) from None
        except (ValueError, msgspec.MsgspecError) as error:
            # A library that prints to where answers go, or a line without an end.
            raise self._broken(f"what it says is no answer: {error}", began) from error
        match answer:
            case Failed(is_short=True):
                raise GroupUnusableError(peer=self._peer, reason=answer.reason)
            case Failed():
                self._at = answer.at
                raise self._broken(answer.reason, began)
            case None:
                raise self._broken(f"its process {self.pid} ended", began)
            case _ if isinstance(answer, expected):
                return answer
            case _:
                raise self._broken(f"{type(answer).__name__} is no answer", began)

    async def _next(self) -> Answer | None:
        """The next answer that is not progress; None at the end."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            answer = answer_in(line)
            if not isinstance(answer, At):
                return answer
            self._at = answer
        return None

    def _broken(self, reason: str, began: float) -> GroupBrokenError:
        return GroupBrokenError(peer=self._peer, at=str(self._at), seconds=time.monotonic() - began, reason=reason)
