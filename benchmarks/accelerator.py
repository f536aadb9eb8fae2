"""The GPU of this machine, asked of its driver: no context of this process on the device."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tetrad_config import visible_gpus

PROGRAM: Final = "nvidia-smi"
DRIVER: Final = Path("/dev/nvidiactl")
TIMEOUT_S: Final = 60.0
ASK_TORCH: Final = "import torch; print(torch.cuda.get_device_name(0))"


@functools.cache
def gpu_name() -> str:
    """Name of the first GPU, such as `NVIDIA H200`; empty on a machine without."""
    found = ""
    if shutil.which(PROGRAM) is not None:
        found = _first_line([PROGRAM, "--query-gpu=name", "--format=csv,noheader"])
    if not found and DRIVER.exists():
        found = _first_line([sys.executable, "-c", ASK_TORCH])
    return found


@functools.cache
def num_gpus() -> int:
    """GPUs that this machine has, as far as CUDA_VISIBLE_DEVICES shows them."""
    return len(visible_gpus(os.environ))


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    return lines[0].strip() if lines else ""
