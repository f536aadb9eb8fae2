"""Which process start owns something, and whether it still lives.

A pid alone says nothing: it is given to another process after the first has died. Its start time tells them apart.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FIELDS_BEFORE_START_TIME: Final = 19
"""Fields of /proc/PID/stat between the closing parenthesis of the name and `starttime` (proc(5), field 22)."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_DEAD_STATES: Final = frozenset({"Z", "X", "x"})


@dataclass(frozen=True, slots=True)
class Process:
    """One start of one process."""

    pid: int
    started: int
    """Clock ticks after boot at which it started, from /proc."""


def this_process() -> Process:
    """Return the calling process."""
    fields = _stat_fields(os.getpid())
    if fields is None:
        raise RuntimeError("this process is not in /proc; shared memory of weights needs Linux with /proc mounted")
    return Process(os.getpid(), int(fields[_FIELDS_BEFORE_START_TIME]))


def is_alive(process: Process) -> bool:
    """Whether exactly this start of the process still runs; a zombie does not."""
    fields = _stat_fields(process.pid)
    if fields is None or fields[0] in _DEAD_STATES:
        return False
    return int(fields[_FIELDS_BEFORE_START_TIME]) == process.started


def pid_space() -> str:
    """Name of where our pids mean something: this boot of this kernel, and our namespace in it."""
    boot = _BOOT_ID.read_text(encoding="ascii").strip() if _BOOT_ID.exists() else os.uname().nodename
    return f"{boot}:{pid_namespace()}"


def pid_namespace() -> int:
    """Number of the namespace that our pids are valid in; pids of another one must not be looked up in ours."""
    return Path("/proc/self/ns/pid").stat().st_ino


def _stat_fields(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name may hold spaces and parentheses; the last one ends it.
    return text.rpartition(")")[2].split()
