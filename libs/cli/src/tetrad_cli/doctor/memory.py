"""Main memory; in a container, what its limit leaves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tetrad_cli.doctor.finding import GIB, Finding, Patient, Verdict

MIN_GIB: Final = 2.0


def check(_patient: Patient) -> Iterator[Finding]:
    """Whether the demo fits."""
    total, free = _memory_gib()
    detail = f"{free:.1f} GiB free of {total:.1f}; the demo needs {MIN_GIB:g}"
    if free >= MIN_GIB:
        yield Finding(Verdict.GOOD, "memory", detail)
    else:
        yield Finding(Verdict.BAD, "memory", detail, "end other programs, or raise the container's limit")


def _memory_gib() -> tuple[float, float]:
    """Return (total, available) memory."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    table = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines}
    total, free = table["MemTotal"], table["MemAvailable"]
    limit, used = _cgroup("memory.max"), _cgroup("memory.current")
    if limit is not None and used is not None:
        total, free = min(total, limit), min(free, limit - used)
    return total / GIB, free / GIB


def _cgroup(name: str) -> int | None:
    try:
        text = Path("/sys/fs/cgroup", name).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
