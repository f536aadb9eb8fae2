"""Starts child processes and learns how they end.

Owns SIGCHLD of the launcher: all children, adopted orphans too, are collected here and nowhere else. No threads, so
that code between fork and exec is safe.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tetrad_cli.launch.proc import INSTANCE_MARK, RUN_MARK, kill, kill_group, marked
from tetrad_runtime.orphans import adopt_orphans, die_with_parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A process to start, as the leader of a session of its own."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    """The whole environment."""
    log_path: Path
    """Where both of its outputs are appended."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process that we started."""

    pid: int
    """Also the number of its session and of its process group."""
    exited: asyncio.Future[int]
    """Its return code, negative for a signal, as in `subprocess`."""

    def terminate(self) -> None:
        """Ask it to drain; a process that was frozen is woken for it."""
        if not self.exited.done():
            kill(self.pid, signal.SIGTERM)
            kill(self.pid, signal.SIGCONT)


class Children:
    """The children of this process. Use it from the main thread's event loop."""

    def __init__(self, run_dir: Path) -> None:
        self._run_mark = str(run_dir)
        self._exits: dict[int, asyncio.Future[int]] = {}
        # Before any fork: the C library must be loaded, and orphans must come to us.
        adopt_orphans()
        self._before_exec = die_with_parent(signal.SIGTERM)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.collect)

    def start(self, command: Command) -> Child:
        """Start a process; raises OSError when the program cannot be started."""
        marks = {RUN_MARK: self._run_mark, INSTANCE_MARK: command.name}
        with command.log_path.open("ab") as log:
            process = subprocess.Popen(
                list(command.argv),
                env={**command.env, **marks},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=self._before_exec,  # noqa: PLW1509 - there are no threads here
            )
        # We collect the exit ourselves; without this the object would warn that nobody did.
        process.returncode = 0
        exited = asyncio.get_running_loop().create_future()
        self._exits[process.pid] = exited
        return Child(process.pid, exited)

    def collect(self) -> None:
        """Take every exit that has happened. Signals may be merged, so one call takes all."""
        while (result := _next_exit()) is not None:
            exited = self._exits.pop(result.si_pid, None)
            if exited is not None and not exited.done():
                code = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
                exited.set_result(code)

    def kill_remains(self, name: str, *, leader: int) -> None:
        """Kill what a process left behind: its group, and descendants that left the group but carry its name."""
        kill_group(leader, signal.SIGKILL)
        for pid in marked(**{RUN_MARK: self._run_mark, INSTANCE_MARK: name}):
            kill(pid, signal.SIGKILL)


def sweep(run_dir: Path) -> list[int]:
    """Kill the processes that an earlier launcher left in this run directory, and return their pids.

    Only for the holder of the run directory's lock: then no other launcher of it is alive.
    """
    left = marked(**{RUN_MARK: str(run_dir)})
    for pid in left:
        kill(pid, signal.SIGKILL)
    return left


def _next_exit() -> os.waitid_result | None:
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)
    except ChildProcessError:  # there are none
        return None
