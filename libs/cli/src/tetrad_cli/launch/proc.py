"""Reads the process table of Linux: who is alive, since when, and which processes carry our mark.

Standard library only, because the guardian imports it. Owns nothing.
"""

import contextlib
import os
import signal
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
# Not called TETRAD_…: those variables are settings, and services refuse the ones they do not know.
RUN_MARK: Final = "_TETRAD_RUN"
INSTANCE_MARK: Final = "_TETRAD_INSTANCE"


def start_ticks(pid: int) -> int | None:
    """Return when a live process began, in clock ticks since boot; None when it is gone or a zombie.

    A pid together with this number names a process for ever: pids are used again, pairs are not.
    """
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The command's name, in parentheses, may hold spaces and parentheses itself.
    state, *fields = text.rsplit(")", 1)[1].split()
    return None if state in {"Z", "X"} else int(fields[18])


def is_frozen(pid: int) -> bool:
    """Whether a process is stopped by a signal, such as SIGSTOP, or by a debugger."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return False
    return text.rsplit(")", 1)[1].split()[0] in {"T", "t"}


def marked(**marks: str) -> list[int]:
    """Return the pids, our own excepted, whose environment holds all the given variables with these values."""
    wanted = {f"{key}={value}".encode() for key, value in marks.items()}
    return [pid for pid in _pids() if pid != os.getpid() and wanted <= _environment(pid)]


def kill_group(pid: int, number: signal.Signals) -> None:
    """Signal a process group; one that is already gone is what we want."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def kill(pid: int, number: signal.Signals) -> None:
    """Signal a process; one that is already gone is what we want."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def _environment(pid: int) -> set[bytes]:
    try:
        return set((PROC / str(pid) / "environ").read_bytes().split(b"\0"))
    except OSError:  # gone, or another user's
        return set()
