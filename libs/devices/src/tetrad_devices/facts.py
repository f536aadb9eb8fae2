"""Facts of the GPUs of this host: identity and free memory. Processes may number them differently: UUIDs count."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Bytes of one GPU at a moment."""

    free: int
    total: int
    allocated: int
    """By this process's tensors."""
    reserved: int
    """By this process's allocator, what is allocated included."""


def uuid_of(device: torch.device | int = 0) -> str:
    """The GPU's UUID."""
    return str(torch.cuda.get_device_properties(device).uuid)


def index_of(uuid: str) -> int:
    """The number of a GPU in this process; raises LookupError where it is not visible."""
    visible = [uuid_of(index) for index in range(torch.cuda.device_count())]
    if uuid not in visible:
        raise LookupError(f"GPU {uuid} is not visible here; visible are {', '.join(visible) or 'none'}")
    return visible.index(uuid)


def memory_of(device: torch.device | int = 0) -> DeviceMemory:
    """What is free on a GPU, and what this process has of it."""
    free, total = torch.cuda.mem_get_info(device)
    return DeviceMemory(free, total, torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device))
