"""Why a server found too little memory to start: out of its processes, and as the user may read it.

SGLang's scheduler is a process of its own, and what stops it there is printed, while whoever starts it hears of its end
alone. So our scheduler writes the reason into a file before it ends. Imports no sglang.
"""

import math
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from tetrad_runtime.exits import ConfigFault, ExitCode

T = TypeVar("T")

REPORT: Final = "TETRAD_ENGINE_REPORT"
"""Names the file, in the environment of the server's processes."""
SHARE_TOO_SMALL: Final = re.compile(
    r"leaves? no GPU memory for the KV cache|Not enough memory\. Please try to increase --mem-fraction-static"
)
GPU_FULL: Final = re.compile(r"CUDA out of memory|CUDA error: out of memory|cudaErrorMemoryAllocation")
_NEEDED: Final = re.compile(r"Raise --mem-fraction-static above ([\d.]+)")
KEY: Final = "generator.gpu_memory_utilization"
MAX_SHARE: Final = 0.95
"""Beyond this nothing is left for what is not counted: CUDA's context, graphs, activations."""


def memory_fault(text: str, *, share: float) -> ConfigFault | None:
    """Say what to change where a text speaks of too little memory; None where it does not.

    >>> text = "leave no GPU memory for the KV cache. Raise --mem-fraction-static above 0.214 (minimum)"
    >>> print(str(memory_fault(text, share=0.2)).partition(": ")[0])
    the engine's share of the GPU holds the weights and no KV cache; set generator.gpu_memory_utilization=0.22 or more
    """
    if SHARE_TOO_SMALL.search(text):
        needed = _NEEDED.search(text)
        # What SGLang names may be less than what there is already, where it counts more than the weights.
        least = max(float(needed[1].rstrip(".")) if needed else 0.0, share)
        wanted = math.floor(least * 100 + 1) / 100
        fix = (
            f"set {KEY}={wanted:.2f} or more"
            if wanted <= MAX_SHARE
            else "take more GPUs for each engine (generator.inference_engine_tensor_parallel_size) or a smaller model"
        )
        what = "the engine's share of the GPU holds the weights and no KV cache"
    elif GPU_FULL.search(text):
        what = "the GPU was full before the engine had started"
        fix = f"lower {KEY} from {share:g}, then generator.max_num_seqs, or end what else holds memory there"
    else:
        return None
    return ConfigFault(f"{what}; {fix}: {text}")


def started(start: Callable[[], T], *, share: float) -> T:
    """Start a server; raise a ConfigFault with its words where it found too little memory."""
    with tempfile.TemporaryDirectory(prefix="tetrad-engine-") as folder:
        report = Path(folder) / "report"
        os.environ[REPORT] = str(report)
        try:
            return start()
        except Exception as error:  # foreign code: whatever it raises, its process may have said why
            said = report.read_text() if report.is_file() else str(error)
            fault = memory_fault(said, share=share)
            if fault is None:
                raise
            raise fault from error
        finally:
            del os.environ[REPORT]


@contextmanager
def reporting() -> Iterator[None]:
    """Inside a process of the server: report too little memory and end at once; leave everything else alone.

    SGLang would end the whole service by a signal, before anybody could read why.
    """
    try:
        yield
    except Exception as error:  # foreign code; what is not about memory goes on
        said = f"{type(error).__name__}: {error}"
        report = os.environ.get(REPORT)
        if report is None or memory_fault(said, share=0.0) is None:
            raise
        Path(report).write_text(said)
        print(said, file=sys.stderr, flush=True)
        os._exit(ExitCode.CONFIG)
