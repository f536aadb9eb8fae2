"""One worker process, seen from the replica: requests go in, replies come out in the same order, and it may be killed.

Owns the process, its pipe and the clock of the request that is being answered. Whoever waits learns that a request
was answered, that it failed, or that the worker died of another one (MOVED). Runs no foreign code itself.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec

from tetrad_reward.frames import READY, frame_of
from tetrad_reward.pipe import Pipe
from tetrad_reward.requests import (
    Answered,
    Close,
    Closed,
    Failed,
    Grade,
    Load,
    Loaded,
    Numbered,
    Open,
    Opened,
    Reply,
    Request,
    Step,
    Stepped,
    crashed,
    timed_out,
)
from tetrad_reward.spawn import spawn
from tetrad_runtime.exits import describe_exit
from tetrad_wire.messages.leases import FailureKind

ANSWERS: Final[dict[type[Request], type[Reply]]] = {
    Load: Loaded,
    Open: Opened,
    Step: Stepped,
    Grade: Stepped,
    Close: Closed,
}
"""What each request may be answered with, besides Failed."""
# Between the death of a worker and the end of its pipe, which a child that it forked may hold open.
LAST_WORDS_S: Final = 0.25
# For a worker that was asked to leave; then it is killed.
LEAVE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Moved:
    """The worker left before it came to this request, through no fault of the request: ask another one."""


MOVED: Final = Moved()


class WorkerStartError(Exception):
    """A worker process did not come up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    number: int
    request: Request
    deadline_s: float
    answer: asyncio.Future[Reply | Moved]


class Worker:
    """Start one with `Worker.start`; `on_leaving` is called once, when it takes no more requests."""

    def __init__(self, process: asyncio.subprocess.Process, *, on_leaving: Callable[["Worker"], None]) -> None:
        self._process = process
        self._on_leaving = on_leaving
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()
        self._head_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._num_submitted = 0
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._pipe: Pipe | None = None
        self._exited = asyncio.create_task(self._watch(), name=f"worker-{process.pid}")
        self.has_left = False

    @classmethod
    async def start(cls, *, on_leaving: Callable[["Worker"], None], address_space_bytes: int, timeout_s: float) -> Self:
        """Start a process and wait until it has imported what it needs; raises WorkerStartError."""
        process, pipe = await spawn(address_space_bytes)
        worker = cls(process, on_leaving=on_leaving)
        try:
            async with asyncio.timeout(timeout_s):
                await worker._connect(pipe)
        except TimeoutError:
            await worker.stop()
            raise WorkerStartError(f"worker {process.pid} was not ready within {timeout_s:g} s") from None
        except BaseException:
            await worker.stop()
            raise
        return worker

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its process group."""
        return self._process.pid

    @property
    def num_waiting(self) -> int:
        """Requests not answered yet."""
        return len(self._waiting)

    def submit(self, request: Request, *, deadline_s: float) -> asyncio.Future[Reply | Moved]:
        """Send a request; the deadline counts from when the worker comes to it.

        Raises FrameError if the request cannot travel. Never blocks; the caller bounds how much it submits.
        """
        answer: asyncio.Future[Reply | Moved] = self._loop.create_future()
        if self.has_left or self._pipe is None:
            answer.set_result(MOVED)
            return answer
        number = self._num_submitted
        self._pipe.send(frame_of(Numbered(number, request)))
        self._num_submitted += 1
        self._waiting.append(_Waiting(number=number, request=request, deadline_s=deadline_s, answer=answer))
        if len(self._waiting) == 1:
            self._start_clock()
        return answer

    @property
    def exited(self) -> asyncio.Task[None]:
        """Done once the process is reaped."""
        return self._exited

    async def stop(self) -> None:
        """Let it leave, kill it if it does not, and reap it."""
        self._leave(None, should_kill=False)
        try:
            async with asyncio.timeout(LEAVE_S):
                await asyncio.shield(self._exited)
        except TimeoutError:
            self._kill()
            await self._exited

    def _hear(self, value: Any) -> None:
        if self.has_left:
            return
        if not self._ready.done():
            self._become_ready(value)
            return
        try:
            answered = msgspec.convert(value, Answered)
        except msgspec.ValidationError as error:
            self._break_off(f"sent no valid reply: {error}")
            return
        self._take(answered)

    def _break_off(self, what: str) -> None:
        """End a worker that does not keep to the protocol; what it was working on pays."""
        self._leave(crashed(f"the worker {what}", kind=FailureKind.DATA))

    def _end(self) -> None:
        """Take leave of a worker that closed its end, most likely by dying: who was being served learns how."""
        if self.has_left:
            return
        guilty = self._waiting.popleft() if self._waiting else None
        self._leave(None)
        if guilty is not None:
            self._exited.add_done_callback(lambda _exited: _resolve(guilty, self._died()))

    async def _connect(self, pipe: socket.socket) -> None:
        self._pipe = Pipe(
            pipe,
            on_value=self._hear,
            on_broken=lambda why: self._break_off(f"broke its pipe: {why}"),
            on_end=self._end,
        )
        await asyncio.wait({self._ready, self._exited}, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.done() or self.has_left:
            raise WorkerStartError(f"worker {self.pid} ended before it was ready: {self._how_it_ended()}")

    def _become_ready(self, value: Any) -> None:
        if value == READY:
            self._ready.set_result(None)
        else:
            self._break_off(f"said {str(value)[:40]!r} first, not {READY!r}")

    def _take(self, answered: Answered) -> None:
        head = self._waiting[0] if self._waiting else None
        if head is None or answered.number != head.number:
            self._break_off(f"answered request {answered.number} out of turn")
        elif not isinstance(answered.reply, ANSWERS[type(head.request)] | Failed):
            self._break_off(f"answered {type(head.request).__name__} with {type(answered.reply).__name__}")
        else:
            _resolve(self._waiting.popleft(), answered.reply)
            self._start_clock()
            if answered.is_last:
                self._leave(None)

    def _start_clock(self) -> None:
        self._head_since = self._loop.time()
        if not self._waiting:
            return
        due = self._head_since + self._waiting[0].deadline_s
        # One timer serves many requests: it is armed anew when it fires, unless the next deadline is closer.
        if self._timer is None or due < self._timer.when():
            self._arm(due)

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._check_clock)

    def _check_clock(self) -> None:
        self._timer = None
        if self.has_left or not self._waiting:
            return
        head = self._waiting[0]
        due = self._head_since + head.deadline_s
        if self._loop.time() < due:
            self._arm(due)
        else:
            reason = f"no answer within {head.deadline_s:g} s; its worker was killed"
            self._leave(timed_out(reason, duration_s=self._loop.time() - self._head_since))

    def _leave(self, failure: Failed | None, *, should_kill: bool = True) -> None:
        if self.has_left:
            return
        self.has_left = True
        if self._timer is not None:
            self._timer.cancel()
        if self._pipe is not None:
            self._pipe.close()
        if should_kill:
            self._kill()
        if failure is not None and self._waiting:
            _resolve(self._waiting.popleft(), failure)
        while self._waiting:
            _resolve(self._waiting.popleft(), MOVED)
        self._on_leaving(self)

    def _kill(self) -> None:
        # The whole group, with whatever the grader started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def _watch(self) -> None:
        await self._process.wait()
        # Replies that it wrote before it died are still in the pipe, and its end follows them.
        self._loop.call_later(LAST_WORDS_S, self._end)

    def _died(self) -> Failed:
        # A grader that ends its process does so again; a signal comes from outside, such as for want of memory.
        is_signal = (self._process.returncode or 0) < 0
        kind = FailureKind.INFRA if is_signal else FailureKind.DATA
        return crashed(f"its worker died: {self._how_it_ended()}", kind=kind)

    def _how_it_ended(self) -> str:
        code = self._process.returncode
        return "it closed its pipe" if code is None else describe_exit(code)


def _resolve(waiting: _Waiting, answer: Reply | Moved) -> None:
    # Whoever asked may have been cancelled meanwhile.
    if not waiting.answer.done():
        waiting.answer.set_result(answer)
