"""The NVIDIA driver: new enough for the CUDA that torch was built for."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tetrad_cli.doctor.finding import Finding, Patient, Verdict
from tetrad_cli.doctor.torch_build import installed_build

VERSION: Final = Path("/proc/driver/nvidia/version")
# First driver branch of each CUDA generation; within one, newer toolkits run on older drivers of it.
MIN_BRANCH: Final[Mapping[int, int]] = {11: 450, 12: 525, 13: 580}


def driver_branch(file: Path = VERSION) -> str | None:
    """Return the driver's version such as `580.65.06`; None where there is no driver."""
    try:
        match = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", file.read_text())
    except OSError:
        return None
    return match[1] if match else None


def check(_patient: Patient, file: Path = VERSION) -> Iterator[Finding]:
    """Whether the driver is there, and new enough."""
    found, build = driver_branch(file), installed_build()
    if found is None:
        yield Finding(Verdict.NOTE, "driver", "no NVIDIA driver", "install one where there is a GPU to use")
        return
    cuda = build.cuda if build is not None else None
    needed = MIN_BRANCH.get(build.cuda_major or 0, 0) if build is not None else 0
    if int(found.split(".")[0]) >= needed:
        yield Finding(Verdict.GOOD, "driver", found)
    else:
        fix = f"install driver {needed} or newer, or a torch for an older CUDA"
        yield Finding(Verdict.BAD, "driver", f"{found}; torch for CUDA {cuda} needs {needed}", fix)
