"""Memory of the host and of this process, from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Bytes at one moment."""

    resident: int
    """Of this process."""
    free: int
    """That a new process could have without swapping."""
    total: int
    """Of the host."""


def host_memory() -> HostMemory:
    """Look them up."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    kib = {words[0]: int(words[1]) for words in lines}
    return HostMemory(
        resident=pages * os.sysconf("SC_PAGE_SIZE"),
        free=kib["MemAvailable:"] * 1024,
        total=kib["MemTotal:"] * 1024,
    )
