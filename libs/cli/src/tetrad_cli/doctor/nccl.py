"""NCCL, by which ranks and engines on several GPUs talk."""

from collections.abc import Iterator
from typing import Final

from tetrad_cli.doctor.finding import Finding, Patient, Verdict
from tetrad_cli.doctor.gpus import gpu_names
from tetrad_cli.doctor.installed import version_of

NAMES: Final = ("nvidia-nccl-cu13", "nvidia-nccl-cu12")


def check(_patient: Patient) -> Iterator[Finding]:
    """Whether it is installed."""
    found = next((f"{name} {version}" for name in NAMES if (version := version_of(name))), None)
    if found is not None:
        yield Finding(Verdict.GOOD, "nccl", found)
    elif gpu_names():
        fix = "it comes with torch for CUDA: make setup TORCH_BACKEND=auto"
        yield Finding(Verdict.NOTE, "nccl", "not installed as a package; torch may bring its own", fix)
    else:
        yield Finding(Verdict.NOTE, "nccl", "not installed; ranks without GPUs use gloo", "nothing, without GPUs")
