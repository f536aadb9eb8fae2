"""Processor cores that this process may use."""

import os
from collections.abc import Iterator
from typing import Final

from tetrad_cli.doctor.finding import Finding, Patient, Verdict

MIN_CORES: Final = 2


def check(_patient: Patient) -> Iterator[Finding]:
    """Whether there are enough for two processes that compute."""
    usable = len(os.sched_getaffinity(0))
    detail = f"{usable} usable of {os.cpu_count()}"
    if usable >= MIN_CORES:
        yield Finding(Verdict.GOOD, "cores", detail)
    else:
        yield Finding(Verdict.NOTE, "cores", detail, f"give it {MIN_CORES}: learner and rollout compute at once")
