"""A buffer of GPU memory as plain bytes and integers, and back: CUDA IPC without pickle.

Rests on how torch shares CUDA storages between processes. A handle is opened by other processes only, each one for
itself; what was opened cannot be exported again.
"""

from typing import Final

import torch
from torch import Tensor

from tetrad_devices.facts import index_of, uuid_of
from tetrad_wire.messages.weights import DeviceHandle, SegmentHandle

# Expandable segments have no IPC handle; an ordinary allocation of its own does.
BYTES: Final = torch.uint8


def export(buffer: Tensor, *, gate: SegmentHandle) -> DeviceHandle:
    """Describe a contiguous uint8 CUDA tensor to another process on its GPU; one handle for each importer."""
    storage = buffer.untyped_storage()
    _device, memory, size, start, counter, counter_at, event, needs_event = storage._share_cuda_()  # type: ignore[no-untyped-call]
    return DeviceHandle(
        gpu=uuid_of(buffer.device),
        gate=gate,
        memory=bytes(memory),
        storage_bytes=size,
        storage_offset=start,
        counter=bytes(counter),
        counter_offset=counter_at,
        event=bytes(event),
        needs_event=needs_event,
        offset=int(buffer.storage_offset()),
        num_bytes=buffer.numel(),
    )


def open_memory(handle: DeviceHandle) -> Tensor:
    """Map another process's buffer: uint8[num_bytes] on the same GPU. The map ends with the tensor.

    Raises:
        LookupError: the GPU is not visible here.
        RuntimeError: CUDA does not know the handle (any more).
    """
    index = index_of(handle.gpu)
    # CUDA must be up on that GPU before a handle is opened.
    torch.cuda.init()  # type: ignore[no-untyped-call]
    with torch.cuda.device(index):
        torch.cuda.current_stream().synchronize()
        storage = torch.UntypedStorage._new_shared_cuda(
            index,
            handle.memory,
            handle.storage_bytes,
            handle.storage_offset,
            handle.counter,
            handle.counter_offset,
            handle.event,
            handle.needs_event,
        )
        empty = torch.empty(0, dtype=BYTES, device=torch.device("cuda", index))
        return empty.set_(storage, handle.offset, (handle.num_bytes,))  # type: ignore[call-overload, no-any-return]
