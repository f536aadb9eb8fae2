"""The GPU buffers of one exporter, each behind a gate: a small segment whose lock and nonce stand for the memory's.

A buffer is written again only when no living process holds its gate, as with segments in host memory.
"""

from collections.abc import Collection

import torch
from torch import Tensor

from tetrad_devices.memory import BYTES, export
from tetrad_weights.ring import SegmentRing
from tetrad_weights.segments import Segment
from tetrad_wire.messages.weights import DeviceHandle

# Bytes of a gate's payload; nobody reads them.
GATE_BYTES = 64


class DeviceSegment:
    """One buffer while it is written; `end_writing` lets readers in."""

    def __init__(self, gate: Segment, buffer: Tensor) -> None:
        self._gate = gate
        self.buffer = buffer

    @property
    def name(self) -> str:
        """Of the gate."""
        return self._gate.name

    def handle(self) -> DeviceHandle:
        """What one reader needs; good until the buffer is written again."""
        return export(self.buffer, gate=self._gate.handle)

    def end_writing(self) -> None:
        """Wait for the device, then let readers in that know a handle."""
        torch.cuda.synchronize(self.buffer.device)
        self._gate.end_writing()


class DeviceRing:
    """Hands out buffers to write; owns and frees all of them."""

    def __init__(self, *, device: torch.device, run: str, incarnation: str) -> None:
        self._device = device
        self._gates = SegmentRing(run=run, incarnation=f"{incarnation}-gpu")
        self._buffers: dict[str, Tensor] = {}

    def take(self, num_bytes: int, *, pinned: Collection[str]) -> DeviceSegment:
        """Return a buffer to write; raises SegmentsBusyError while too many are still being read."""
        gate = self._gates.take(GATE_BYTES, pinned=pinned)
        buffer = self._buffers.get(gate.name)
        if buffer is None or buffer.numel() != num_bytes:
            self._buffers.pop(gate.name, None)
            buffer = self._buffers[gate.name] = torch.empty(num_bytes, dtype=BYTES, device=self._device)
        return DeviceSegment(gate, buffer)

    def trim(self, *, pinned: Collection[str]) -> None:
        """Free what is there beyond the depth and not being read."""
        self._gates.trim(pinned=pinned)
        self._forget()

    def close(self) -> None:
        """Free every buffer; whoever still maps one keeps it until it lets go."""
        self._gates.close()
        self._buffers.clear()

    def _forget(self) -> None:
        names = self._gates.names
        self._buffers = {name: buffer for name, buffer in self._buffers.items() if name in names}
