"""What `tetrad doctor` looks at: interpreter, packages, cores, memory, disk, shared memory, limits.

Owns the limits. Imports none of the packages that it looks for.
"""

import os
import resource
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

GIB: Final = 1 << 30
MIN_PYTHON: Final = (3, 11)
MIN_MEMORY_GIB: Final = 2.0
MIN_DISK_GIB: Final = 2.0
# Weights travel through it: twice the model's size in float32.
MIN_SHARED_MEMORY_GIB: Final = 0.25
MIN_OPEN_FILES: Final = 1024
NEEDED: Final = ("msgpack", "pyzmq", "pydantic", "structlog", "prometheus-client", "rich")
SERVICES: Final = ("tetrad-learner", "tetrad-rollout", "tetrad-reward", "tetrad-broadcaster")
OPTIONAL: Final = {"torch": "learner and rollout", "transformers": "learner and rollout", "sglang": "rollout on GPUs"}


class Verdict(StrEnum):
    """What a finding means."""

    GOOD = "ok"
    NOTE = "note"
    BAD = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    verdict: Verdict
    subject: str
    detail: str


def examine(outputs: Path = Path("outputs")) -> list[Finding]:
    """Look at everything; takes a few milliseconds."""
    return [_python(), *_packages(), _cores(), _memory(), _disk(outputs), _shared_memory(), _open_files(), _gpus()]


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    verdict = Verdict.GOOD if sys.version_info >= MIN_PYTHON else Verdict.BAD
    return Finding(verdict, "python", f"{found} at {sys.executable}")


def _packages() -> Iterator[Finding]:
    for name in NEEDED:
        found = _version(name)
        yield Finding(Verdict.GOOD if found else Verdict.BAD, name, found or f"pip install {name}")
    for name in SERVICES:
        found = _version(name)
        yield Finding(Verdict.GOOD if found else Verdict.NOTE, name, found or f"not here; pip install {name}")
    for name, use in OPTIONAL.items():
        found = _version(name)
        yield Finding(Verdict.GOOD if found else Verdict.NOTE, name, found or f"not here; for {use}")


def _cores() -> Finding:
    usable = len(os.sched_getaffinity(0))
    verdict = Verdict.GOOD if usable >= 2 else Verdict.NOTE
    return Finding(verdict, "cores", f"{usable} usable of {os.cpu_count()}")


def _memory() -> Finding:
    total, free = _memory_gib()
    verdict = Verdict.GOOD if free >= MIN_MEMORY_GIB else Verdict.BAD
    return Finding(verdict, "memory", f"{free:.1f} GiB free of {total:.1f}; the demo needs {MIN_MEMORY_GIB:g}")


def _disk(outputs: Path) -> Finding:
    place = next(path for path in (outputs, *outputs.resolve().parents) if path.exists())
    free = shutil.disk_usage(place).free / GIB
    verdict = Verdict.GOOD if free >= MIN_DISK_GIB else Verdict.BAD
    return Finding(verdict, "disk", f"{free:.1f} GiB free at {place}")


def _shared_memory() -> Finding:
    place = Path("/dev/shm")  # noqa: S108 - looked at, not written to
    if not place.is_dir():
        return Finding(Verdict.BAD, "shared memory", f"no {place}; weights travel through it")
    free = shutil.disk_usage(place).free / GIB
    verdict = Verdict.GOOD if free >= MIN_SHARED_MEMORY_GIB else Verdict.BAD
    return Finding(
        verdict, "shared memory", f"{free:.2f} GiB free; a run needs about four times its weights in float32"
    )


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    verdict = Verdict.GOOD if soft >= MIN_OPEN_FILES else Verdict.NOTE
    return Finding(verdict, "open files", f"limit {soft}, at most {hard}; raise with ulimit -n")


def _gpus() -> Finding:
    names = sorted(path.name for path in Path("/proc/driver/nvidia/gpus").glob("*"))
    if not names:
        return Finding(Verdict.NOTE, "gpus", "none; put +experiment=cpu on top of a run file")
    return Finding(Verdict.GOOD, "gpus", f"{len(names)} by NVIDIA")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _memory_gib() -> tuple[float, float]:
    """Return (total, available) memory; in a container, what its limit leaves."""
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
