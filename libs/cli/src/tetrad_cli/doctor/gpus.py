"""The GPUs that the driver shows, and those that this process may use."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tetrad_cli.doctor.finding import Finding, Patient, Verdict

DEVICES: Final = Path("/proc/driver/nvidia/gpus")
VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


def gpu_names(devices: Path = DEVICES) -> list[str]:
    """Return the model of each GPU, in order of its place on the bus."""
    return [_model(folder) for folder in sorted(devices.glob("*"))]


def check(patient: Patient, devices: Path = DEVICES) -> Iterator[Finding]:
    """Whether there are any, and whether they are hidden."""
    names = gpu_names(devices)
    hidden = patient.environ.get(VISIBLE)
    if not names:
        yield Finding(Verdict.NOTE, "gpus", "none", "put +experiment=cpu on top of a run file to train without")
    elif hidden is not None and not hidden.strip(" -1"):
        yield Finding(Verdict.NOTE, "gpus", f"{len(names)}, all hidden by {VISIBLE}={hidden!r}", f"unset {VISIBLE}")
    else:
        kinds = ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names))
        yield Finding(Verdict.GOOD, "gpus", kinds)


def _model(folder: Path) -> str:
    try:
        lines = (folder / "information").read_text().splitlines()
    except OSError:
        return "NVIDIA"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("Model:")), "NVIDIA")
