"""Runs a service's main coroutine: signals become a drain, errors become exit codes, crashes leave last words.

Owns the signal handlers and the deadline of the drain. Must not know what the service does.
"""

import asyncio
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Final

from tetrad_runtime.exits import ExitCode, Fault, exit_code_of, is_config_error
from tetrad_telemetry.logs import get_logger

DRAIN_TIMEOUT_S: Final = 30.0
# After the drain's deadline the main task is cancelled. A process that survives this much longer is ended hard,
# for instance when a thread blocks the interpreter's exit.
LAST_GRACE_S: Final = 5.0

Main = Callable[[asyncio.Event], Awaitable[ExitCode | None]]
"""A service: gets the event that asks it to drain, returns when done; None means OK."""

log = get_logger(__name__)


def run_service(main: Main, *, drain_timeout_s: float = DRAIN_TIMEOUT_S) -> int:
    """Run `main` to its end and return the exit code of the process.

    SIGTERM and SIGINT set the drain event; a second one cancels at once. A drain longer than `drain_timeout_s`
    gives DRAIN_TIMEOUT. A `Fault` gives its own code, any other error INTERNAL, each with a last log line.
    Call it from the main thread.
    """
    _enable_stack_dumps()
    service = _Service(main, drain_timeout_s)
    try:
        code = asyncio.run(service.run())
    except (Exception, BaseExceptionGroup) as error:
        code = _last_words(error)
    service.last_resort.disarm()
    if _has_threads_that_block_exit():
        _LastResort().arm(LAST_GRACE_S, code)
    return int(code)


class _LastResort:
    """Ends the process hard when it is still there after its deadline."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def arm(self, delay_s: float, code: ExitCode) -> None:
        self.disarm()
        self._timer = threading.Timer(delay_s, _end_hard, (delay_s, code))
        self._timer.name = "last-resort"
        self._timer.daemon = True
        self._timer.start()

    def disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class _Service:
    """One run of a main coroutine under signals and a deadline."""

    def __init__(self, main: Main, drain_timeout_s: float) -> None:
        self.last_resort = _LastResort()
        self._main = main
        self._drain_timeout_s = drain_timeout_s
        self._drain = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> ExitCode:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        work = asyncio.ensure_future(self._main(self._drain))
        watch = asyncio.create_task(self._until_out_of_time(), name="drain-deadline")
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            watch.cancel()
            # What follows is the loop's own clean-up; a worker thread that never ends must not hold it up.
            self.last_resort.arm(LAST_GRACE_S, _code_of(work))
            return work.result() or ExitCode.OK
        return await self._cut_short(work)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._drain.is_set():
            self._hurry.set()
            return
        log.info("drain_started", signal=signal.Signals(number).name, deadline_s=self._drain_timeout_s)
        self._drain.set()
        self.last_resort.arm(self._drain_timeout_s + 2 * LAST_GRACE_S, ExitCode.DRAIN_TIMEOUT)

    async def _until_out_of_time(self) -> None:
        await self._drain.wait()
        done, _pending = await asyncio.wait({asyncio.create_task(self._hurry.wait())}, timeout=self._drain_timeout_s)
        log.error("drain_cut_short", reason="second signal" if done else "deadline", limit_s=self._drain_timeout_s)

    async def _cut_short(self, work: "asyncio.Future[ExitCode | None]") -> ExitCode:
        work.cancel()
        await asyncio.wait({work}, timeout=LAST_GRACE_S)
        if work.done() and not work.cancelled() and (error := work.exception()) is not None:
            raise error
        return ExitCode.DRAIN_TIMEOUT


def _code_of(work: "asyncio.Future[ExitCode | None]") -> ExitCode:
    error = work.exception() if not work.cancelled() else None
    if error is not None:
        return exit_code_of(error)
    return ExitCode.INTERNAL if work.cancelled() else work.result() or ExitCode.OK


def _end_hard(delay_s: float, code: ExitCode) -> None:
    sys.stderr.write(f"still here after {delay_s:g} s: ending without further clean-up\n")
    faulthandler.dump_traceback(all_threads=True)
    os._exit(code)


def _has_threads_that_block_exit() -> bool:
    main = threading.main_thread()
    return any(thread is not main and not thread.daemon for thread in threading.enumerate())


def _enable_stack_dumps() -> None:
    # kill -USR1 PID writes every thread's stack: the first question about a process that hangs.
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)


def _last_words(error: BaseException) -> ExitCode:
    code = exit_code_of(error)
    # The message of a fault is written for its reader; a traceback would only hide it.
    trace = not (isinstance(error, Fault) or is_config_error(error))
    log.critical(
        "service_failed", error=str(error), exit_code=int(code), blame=code.blame, exc_info=error if trace else None
    )
    return code
