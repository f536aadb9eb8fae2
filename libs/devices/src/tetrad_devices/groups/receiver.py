"""Receives versions for one engine into memory of its own, and says where they lie.

    python -m tetrad_devices.groups.receiver BACKEND RUN INCARNATION

On a GPU that memory is handed on by CUDA IPC, on the host as a shared-memory segment; the engine copies and digests
it as it does a rank's or the broadcaster's. Whoever kills this process frees the memory and harms no engine.
"""

import os
import sys
import time
from typing import Final

import torch

from tetrad_devices.facts import index_of, memory_of, uuid_of
from tetrad_devices.groups.group import Group, device_of, side_of
from tetrad_devices.groups.orders import Lines, open_lines
from tetrad_devices.ring import DeviceRing
from tetrad_weights.group_orders import Answer, Form, Moved, Order, Phase, Ready, Receive, ReceivePart
from tetrad_weights.group_sides import GLOO, RECEIVER
from tetrad_weights.ring import SegmentRing

# What the engine may need in the next moment, beside what it holds.
MARGIN_BYTES: Final = 256 << 20


class HostMemory:
    """Stage buffers on the host."""

    def __init__(self, *, run: str, incarnation: str) -> None:
        self._ring = SegmentRing(run=run, incarnation=incarnation)

    def receive(self, num_bytes: int, group: Group) -> Moved:
        """Fill one."""
        began = time.monotonic()
        segment = self._ring.take(num_bytes, pinned=())
        try:
            group.move(torch.from_numpy(segment.payload))
        finally:
            segment.end_writing()
        return Moved(seconds=time.monotonic() - began, segment=segment.handle)

    def receive_part(self, order: ReceivePart, group: Group) -> Moved:
        """Fill the beginning of one with a bucket."""
        began = time.monotonic()
        segment = self._ring.take(order.room_bytes, pinned=())
        try:
            bucket = torch.from_numpy(segment.payload[: order.num_bytes])
            group.move_part(bucket, order.bucket, order.num_buckets)
        finally:
            segment.end_writing()
        return Moved(seconds=time.monotonic() - began, segment=segment.handle)

    def close(self) -> None:
        """Free them."""
        self._ring.close()


class DeviceMemory:
    """Stage buffers on the engine's GPU."""

    def __init__(self, device: torch.device, *, run: str, incarnation: str) -> None:
        self._device = device
        self._ring = DeviceRing(device=device, run=run, incarnation=incarnation)
        self._num_bytes = 0

    def receive(self, num_bytes: int, group: Group) -> Moved:
        """Fill one; raises MemoryError where there is no room beside the engine."""
        began = time.monotonic()
        self._check_room(num_bytes)
        memory = self._ring.take(num_bytes, pinned=())
        try:
            group.move(memory.buffer)
        finally:
            memory.end_writing()
        self._num_bytes = num_bytes
        return Moved(seconds=time.monotonic() - began, device=memory.handle())

    def close(self) -> None:
        """Free them."""
        self._ring.close()

    def _check_room(self, num_bytes: int) -> None:
        free = memory_of(self._device).free
        if num_bytes != self._num_bytes and free < num_bytes + MARGIN_BYTES:
            raise MemoryError(
                f"a stage buffer needs {num_bytes} bytes and {MARGIN_BYTES} to spare on GPU {uuid_of(self._device)}, "
                f"which has {free} free; lower generator.gpu_memory_utilization"
            )


def main(backend: str, run: str, incarnation: str) -> None:
    """Obey until there are no more orders."""
    lines = open_lines()
    device = device_of(backend, "", index_of)
    group = Group(lines, backend=backend, rank=RECEIVER, device=device)
    memory: HostMemory | DeviceMemory = (
        HostMemory(run=run, incarnation=incarnation)
        if backend == GLOO
        else DeviceMemory(device, run=run, incarnation=incarnation)
    )
    lines.say(Ready(side=side_of(backend, dict(os.environ), device)))
    try:
        lines.obey(lambda order: _done(order, group, memory, lines))
    finally:
        memory.close()


def _done(order: Order, group: Group, memory: HostMemory | DeviceMemory, lines: Lines) -> Answer:
    match order:
        case Form():
            return group.form(order)
        case Receive():
            lines.at(Phase.MEMORY)
            return memory.receive(order.num_bytes, group)
        case ReceivePart() if isinstance(memory, HostMemory):
            lines.at(Phase.MEMORY)
            return memory.receive_part(order, group)
        case _:
            raise TypeError(f"a receiver does not {type(order).__name__}")


if __name__ == "__main__":
    main(*sys.argv[1:])
