"""Main memory; in a container, what its limit leaves."""

from collections.abc import Iterator
from typing import Final

from tetrad_cli.doctor.finding import GIB, Finding, Patient, Verdict
from tetrad_runtime.host_memory import host_memory

MIN_GIB: Final = 2.0


def check(_patient: Patient) -> Iterator[Finding]:
    """Whether the demo fits."""
    memory = host_memory()
    total, free = memory.total / GIB, memory.free / GIB
    detail = f"{free:.1f} GiB free of {total:.1f}; the demo needs {MIN_GIB:g}"
    if free >= MIN_GIB:
        yield Finding(Verdict.GOOD, "memory", detail)
    else:
        yield Finding(Verdict.BAD, "memory", detail, "end other programs, or raise the container's limit")
