"""GPU buffers of another process that this one has mapped, for one thread: one reading at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor

from tetrad_devices.memory import open_memory
from tetrad_weights.attachments import Maps
from tetrad_weights.errors import TransportUnusableError
from tetrad_wire.messages.weights import DeviceHandle

MAX_MAPS: Final = 4


class DeviceMaps:
    """Maps outlive readings: opening costs milliseconds, and an exporter offers the same few buffers again."""

    def __init__(self) -> None:
        self._gates = Maps()
        self._opened: dict[str, tuple[bytes, Tensor]] = {}

    @contextmanager
    def attach(self, handle: DeviceHandle) -> Iterator[Tensor]:
        """Within the body, the bytes of the handle; its owner cannot write them meanwhile.

        Raises:
            TransportUnusableError: the memory is not the one that was promised, or cannot be mapped here.
        """
        with self._gates.attach(handle.gate):
            yield self._mapped(handle)
            # The copy must be over before the owner may write again.
            torch.cuda.current_stream().synchronize()

    def close(self) -> None:
        """Unmap everything; idempotent."""
        self._opened.clear()
        self._gates.close()

    def _mapped(self, handle: DeviceHandle) -> Tensor:
        name = handle.gate.name
        memory, mapped = self._opened.get(name, (b"", None))
        if mapped is not None and memory == handle.memory and mapped.numel() == handle.num_bytes:
            return mapped
        self._opened.pop(name, None)
        while len(self._opened) >= MAX_MAPS:
            self._opened.pop(next(iter(self._opened)))
        try:
            mapped = open_memory(handle)
        except (LookupError, RuntimeError) as error:
            raise TransportUnusableError(segment=name, reason=f"GPU memory: {error}") from error
        self._opened[name] = (handle.memory, mapped)
        return mapped
