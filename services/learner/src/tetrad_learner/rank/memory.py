"""What this rank holds, in bytes: of its GPU, or of the host where it has none."""

import torch

from tetrad_runtime.host_memory import host_memory
from tetrad_wire.messages.membership import MemoryFigures


def memory_figures(device: torch.device) -> MemoryFigures:
    """Look them up; cheap."""
    if device.type != "cuda":
        memory = host_memory()
        return MemoryFigures(used=memory.resident, free=memory.free, total=memory.total)
    free, total = torch.cuda.mem_get_info(device)
    return MemoryFigures(
        used=torch.cuda.memory_allocated(device),
        reserved=torch.cuda.memory_reserved(device),
        free=free,
        total=total,
        gpu=gpu_uuid(device),
    )


def gpu_uuid(device: torch.device) -> str:
    """Name the GPU as every process does, whatever number it has for it; empty for no GPU."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}" if device.type == "cuda" else ""
