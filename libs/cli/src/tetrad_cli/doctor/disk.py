"""Disk space where runs will live, and whether it is a disk that a ledger may be on."""

import os
import shutil
from collections.abc import Iterator
from typing import Final

from tetrad_cli.doctor.finding import GIB, Finding, Patient, Verdict

MIN_GIB: Final = 2.0


def check(patient: Patient) -> Iterator[Finding]:
    """Whether checkpoints of the demo fit, and the folder may be written to."""
    outputs = patient.outputs
    place = next(path for path in (outputs, *outputs.resolve().parents) if path.exists())
    free = shutil.disk_usage(place).free / GIB
    detail = f"{free:.1f} GiB free at {place}"
    if not os.access(place, os.W_OK):
        yield Finding(Verdict.BAD, "disk", f"{place} may not be written to", "set trainer.run_dir, or change folder")
    elif free < MIN_GIB:
        fix = "remove old runs, lower trainer.max_ckpts_to_keep, or set trainer.run_dir to another disk"
        yield Finding(Verdict.BAD, "disk", detail, fix)
    else:
        yield Finding(Verdict.GOOD, "disk", detail)
