"""NCCL, by which ranks and engines on several GPUs talk: built for the same CUDA as torch."""

from collections.abc import Iterator
from typing import Final

from tetrad_cli.doctor.finding import Finding, Patient, Verdict
from tetrad_cli.doctor.gpus import gpu_names
from tetrad_cli.doctor.installed import version_of
from tetrad_cli.doctor.recipes import INSTALL_FOR_GPUS
from tetrad_cli.doctor.torch_build import installed_build

PREFIX: Final = "nvidia-nccl-cu"
# Generations of CUDA that the package is made for, the newest first.
GENERATIONS: Final = (13, 12)
FIX: Final = f"it comes with torch for CUDA: {INSTALL_FOR_GPUS}"


def check(_patient: Patient) -> Iterator[Finding]:
    """Whether it is installed, and goes with torch."""
    found = {major: version for major in GENERATIONS if (version := version_of(f"{PREFIX}{major}"))}
    build = installed_build()
    wanted = build.cuda_major if build is not None else None
    if found:
        yield _compared(found, wanted)
    elif gpu_names():
        yield Finding(Verdict.NOTE, "nccl", "not installed as a package; torch may bring its own", FIX)
    else:
        yield Finding(Verdict.NOTE, "nccl", "not installed; ranks without GPUs use gloo", "nothing, without GPUs")


def _compared(found: dict[int, str], wanted: int | None) -> Finding:
    told = ", ".join(f"{PREFIX}{major} {version}" for major, version in found.items())
    if wanted is None:
        return Finding(Verdict.NOTE, "nccl", f"{told}; no torch for CUDA uses it", FIX)
    if wanted not in found:
        return Finding(Verdict.BAD, "nccl", f"{told}; torch is for CUDA {wanted} and loads {PREFIX}{wanted}", FIX)
    if len(found) > 1:
        others = " ".join(f"{PREFIX}{major}" for major in found if major != wanted)
        # Both put their library into the same folder: the one that was installed last is loaded.
        return Finding(Verdict.BAD, "nccl", f"{told}; one writes over the other", f"remove the other: {others}")
    return Finding(Verdict.GOOD, "nccl", told)
