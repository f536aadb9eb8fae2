"""The build of torch that is installed: looked up in its files, because importing it takes seconds."""

import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tetrad_cli.doctor.finding import Finding, Patient, Verdict
from tetrad_cli.doctor.gpus import gpu_names
from tetrad_cli.doctor.recipes import INSTALL, INSTALL_FOR_GPUS


@dataclass(frozen=True, slots=True)
class Build:
    """What torch says of itself."""

    version: str
    cuda: str | None
    """CUDA that it was built for; None where it computes on processors alone."""

    @property
    def cuda_major(self) -> int | None:
        """The generation of CUDA."""
        return int(self.cuda.partition(".")[0]) if self.cuda else None


def installed_build() -> Build | None:
    """Return what is installed; None where torch is not here."""
    spec = find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return None
    file = Path(spec.submodule_search_locations[0]) / "version.py"
    said = runpy.run_path(str(file)) if file.is_file() else {}
    return Build(str(said.get("__version__", "unknown")), said.get("cuda"))


def check(_patient: Patient) -> Iterator[Finding]:
    """Whether it is there, and can use the GPUs that are."""
    build = installed_build()
    if build is None:
        fix = INSTALL_FOR_GPUS if gpu_names() else INSTALL
        yield Finding(Verdict.NOTE, "torch", "not installed; learner and rollout need it", fix)
    elif build.cuda is None and gpu_names():
        detail = f"{build.version}, built without CUDA, beside {len(gpu_names())} GPUs"
        yield Finding(Verdict.BAD, "torch", detail, f"install a build for CUDA: {INSTALL_FOR_GPUS}")
    else:
        yield Finding(Verdict.GOOD, "torch", f"{build.version}, {f'CUDA {build.cuda}' if build.cuda else 'CPU only'}")
