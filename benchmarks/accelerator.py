"""The GPU of this machine, asked of its driver: no torch, no context on the device."""

import functools
import shutil
import subprocess
from typing import Final

PROGRAM: Final = "nvidia-smi"
TIMEOUT_S: Final = 30.0


@functools.cache
def gpu_name() -> str:
    """Name of the first GPU, such as `NVIDIA H200`; empty on a machine without."""
    if shutil.which(PROGRAM) is None:
        return ""
    query = [PROGRAM, "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    names = done.stdout.splitlines() if done.returncode == 0 else []
    return names[0].strip() if names else ""
