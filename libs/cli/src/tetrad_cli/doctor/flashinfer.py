"""FlashInfer, whose attention SGLang uses on most GPUs; it compiles kernels when it is first used."""

import shutil
from collections.abc import Iterator

from tetrad_cli.doctor.finding import Finding, Patient, Verdict
from tetrad_cli.doctor.gpus import gpu_names
from tetrad_cli.doctor.sglang import pinned_finding


def check(_patient: Patient) -> Iterator[Finding]:
    """Whether it is there in the right version, and can compile."""
    gpus = len(gpu_names())
    found = pinned_finding("flashinfer-python", gpus=gpus)
    yield found
    missing = [tool for tool in ("ninja", "nvcc") if shutil.which(tool) is None]
    if gpus and found.verdict is Verdict.GOOD and missing:
        fix = "install the CUDA toolkit and ninja, or set generator.engine_init_kwargs.attention_backend=fa3 or triton"
        yield Finding(Verdict.NOTE, "flashinfer tools", f"no {' and no '.join(missing)} to compile kernels with", fix)
