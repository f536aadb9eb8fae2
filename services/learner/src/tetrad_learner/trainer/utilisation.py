"""Model FLOPs utilisation: how much of what a GPU could compute the training of a step needed.

Owns the table of peaks. Counts 6 FLOPs per weight and token (arXiv:2001.08361, §2.1), without attention and without
the passes that only look, so that neither recomputation nor a reference model makes it look better.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch

# Dense bf16 with fp32 accumulation, FLOP/s, from the makers' data sheets; the first name that is in the device's.
PEAKS: Final[Mapping[str, float]] = {
    "B200": 2.25e15,
    "H200": 989.4e12,
    "H100 PCIe": 756e12,
    "H100": 989.4e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
}
FLOPS_PER_WEIGHT_AND_TOKEN: Final = 6


def peak_of(device: torch.device) -> float | None:
    """FLOP/s of a device; None for a CPU and for a GPU that is not in the table."""
    if device.type != "cuda":
        return None
    return peak_of_name(torch.cuda.get_device_name(device))


def peak_of_name(name: str) -> float | None:
    """FLOP/s by name.

    >>> peak_of_name("NVIDIA H200"), peak_of_name("GeForce GTX 1080")
    (989400000000000.0, None)
    """
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def utilisation(*, parameters: int, tokens: int, seconds: float, peak: float | None) -> float | None:
    """Share of the peak, from 0 to 1; None where the peak is not known.

    >>> utilisation(parameters=1_000_000_000, tokens=10_000, seconds=0.1, peak=1e15)
    0.6
    """
    if peak is None:
        return None
    return FLOPS_PER_WEIGHT_AND_TOKEN * parameters * tokens / (seconds * peak)
