"""Shared memory, through which weights travel on one host."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tetrad_cli.doctor.finding import GIB, Finding, Patient, Verdict

PLACE: Final = Path("/dev/shm")  # noqa: S108 - looked at, not written to
MIN_GIB: Final = 0.25
# Two versions in flight, the learner's and the broadcaster's, each in float32 where the file may hold half of that.
TIMES_WEIGHTS: Final = 4
FIX: Final = "mount -o remount,size=8G /dev/shm; for a container --shm-size=8g"


def check(patient: Patient, place: Path = PLACE) -> Iterator[Finding]:
    """Whether it is there, writable, and large enough for the demo or for the model that is named."""
    if not place.is_dir() or not os.access(place, os.W_OK):
        yield Finding(Verdict.BAD, "shared memory", f"no {place} to write to; weights travel through it", FIX)
        return
    free = shutil.disk_usage(place).free / GIB
    needed = max(MIN_GIB, TIMES_WEIGHTS * _weights_gib(patient.model))
    detail = f"{free:.2f} GiB free; about {needed:.2f} are needed, four times the model's files"
    verdict = Verdict.GOOD if free >= needed else Verdict.BAD
    yield Finding(verdict, "shared memory", detail, "" if verdict is Verdict.GOOD else FIX)


def _weights_gib(model: str | None) -> float:
    files = Path(model).glob("*.safetensors") if model is not None and Path(model).is_dir() else ()
    return sum(file.stat().st_size for file in files) / GIB
