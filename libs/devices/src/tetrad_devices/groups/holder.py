"""Holds the broadcaster's own copies of versions on a GPU, so that the learner goes on and may die.

    python -m tetrad_devices.groups.holder RUN INCARNATION

Copies out of a rank's memory, and makes a handle for each sender that asks: a handle is opened by one process only.
"""

import os
import sys
import time

import torch

from tetrad_devices.facts import index_of
from tetrad_devices.groups.group import device_of, side_of
from tetrad_devices.groups.orders import Lines, open_lines
from tetrad_devices.maps import DeviceMaps
from tetrad_devices.ring import DeviceRing, DeviceSegment
from tetrad_weights.group_orders import Answer, Clone, Export, Moved, Order, Phase, Ready, ToHost
from tetrad_weights.group_sides import NCCL
from tetrad_weights.segments import written_for_owner


class Holder:
    """Copies by version."""

    def __init__(self, lines: Lines, *, run: str, incarnation: str) -> None:
        self._lines = lines
        self._run, self._incarnation = run, incarnation
        self._maps = DeviceMaps()
        self._rings: dict[str, DeviceRing] = {}
        self._copies: dict[int, DeviceSegment] = {}

    def do(self, order: Order) -> Answer:
        """Obey one order."""
        began = time.monotonic()
        match order:
            case Clone():
                self._lines.at(Phase.MEMORY)
                self._clone(order)
                return Moved(seconds=time.monotonic() - began)
            case Export():
                return Moved(seconds=time.monotonic() - began, device=self._copies[order.version].handle())
            case ToHost():
                with written_for_owner(order.segment) as payload:
                    torch.from_numpy(payload).copy_(self._copies[order.version].buffer)
                return Moved(seconds=time.monotonic() - began, segment=order.segment)
            case _:
                raise TypeError(f"a holder does not {type(order).__name__}")

    def close(self) -> None:
        """Free everything."""
        for ring in self._rings.values():
            ring.close()

    def _clone(self, order: Clone) -> None:
        self._copies = {version: copy for version, copy in self._copies.items() if version in order.kept}
        ring = self._ring(order.device.gpu)
        with self._maps.attach(order.device) as source:
            copy = ring.take(source.numel(), pinned={kept.name for kept in self._copies.values()})
            try:
                copy.buffer.copy_(source)
            finally:
                copy.end_writing()
        self._copies[order.version] = copy

    def _ring(self, gpu: str) -> DeviceRing:
        if gpu not in self._rings:
            device = torch.device("cuda", index_of(gpu))
            incarnation = f"{self._incarnation}-held-{len(self._rings)}"
            self._rings[gpu] = DeviceRing(device=device, run=self._run, incarnation=incarnation)
        return self._rings[gpu]


def main(run: str, incarnation: str) -> None:
    """Obey until there are no more orders."""
    lines = open_lines()
    device = device_of(NCCL, "", index_of)
    holder = Holder(lines, run=run, incarnation=incarnation)
    lines.say(Ready(side=side_of(NCCL, dict(os.environ), device)))
    try:
        lines.obey(holder.do)
    finally:
        holder.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
