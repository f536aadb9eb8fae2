"""Memory of the host and of this process, from /proc; in a container, what its limit leaves."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CGROUP: Final = Path("/sys/fs/cgroup")
# Files of the disk that are kept in memory until somebody needs it. What lies in /dev/shm counts elsewhere.
_RECLAIMABLE: Final = ("active_file", "inactive_file")


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Bytes at one moment."""

    resident: int
    """Of this process."""
    free: int
    """That a new process could have without swapping."""
    total: int
    """Of the host, or of the container."""


def host_memory(cgroup: Path = CGROUP) -> HostMemory:
    """Look them up."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    host = _table(Path("/proc/meminfo").read_text())
    total, free = host["MemTotal:"] * 1024, host["MemAvailable:"] * 1024
    if (limit := _number(cgroup / "memory.max")) is not None:
        files = _table((cgroup / "memory.stat").read_text())
        used = (_number(cgroup / "memory.current") or 0) - sum(files.get(name, 0) for name in _RECLAIMABLE)
        total, free = min(total, limit), min(free, max(0, limit - used))
    return HostMemory(resident=pages * os.sysconf("SC_PAGE_SIZE"), free=free, total=total)


def _table(text: str) -> Mapping[str, int]:
    return {words[0]: int(words[1]) for line in text.splitlines() if len(words := line.split()) > 1}


def _number(path: Path) -> int | None:
    """None without a file, or where it says `max`: there is no limit."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
