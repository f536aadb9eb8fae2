"""The broadcaster's own copies of versions in GPU memory, in a process of its own that has the GPU's context.

Owns that process. It is started with the first version that comes so; where it dies, the versions in it are gone, and
the next one starts it anew.
"""

import os
from collections.abc import Collection
from typing import Final

from tetrad_runtime.group_child import GroupChild
from tetrad_weights.errors import GroupBrokenError, TransportUnusableError
from tetrad_weights.group_orders import Clone, Export, Moved, ToHost
from tetrad_weights.group_sides import child_environment
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.weights import DeviceHandle, SegmentHandle

PEER: Final = "the learner's GPU"


class DeviceHolder:
    """Copies by version."""

    def __init__(self, *, incarnation: str, timeout_s: float) -> None:
        self._incarnation = incarnation
        self._timeout_s = timeout_s
        self._child: GroupChild | None = None

    async def clone(self, version: PolicyVersion, device: DeviceHandle, *, run: str, kept: Collection[int]) -> None:
        """Take a copy; afterwards the learner may write its memory again. Copies of versions not in `kept` go.

        Raises TransportUnusableError where it cannot be had.
        """
        try:
            child = await self._started(run)
            order = Clone(version=version, device=device, kept=tuple(kept))
            await child.ask(order, Moved, timeout_s=self._timeout_s)
        except GroupBrokenError as error:
            raise TransportUnusableError(segment=device.gate.name, reason=str(error)) from error

    async def export(self, version: PolicyVersion) -> DeviceHandle:
        """Make a handle of a copy, for one sender; raises TransportUnusableError where there is none any more."""
        moved = await self._asked(Export(version=version), version)
        assert moved.device is not None, "a holder holds GPU memory"
        return moved.device

    async def to_host(self, version: PolicyVersion, segment: SegmentHandle) -> None:
        """Write a copy into a segment of ours that is being written; raises like `export`."""
        await self._asked(ToHost(version=version, segment=segment), version)

    def close(self) -> None:
        """Let it end."""
        if self._child is not None:
            self._child.let_go()

    async def _asked(self, order: Export | ToHost, version: PolicyVersion) -> Moved:
        if self._child is None or not self._child.is_alive:
            raise TransportUnusableError(segment="", reason=f"the holder of version {version} is gone")
        try:
            return await self._child.ask(order, Moved, timeout_s=self._timeout_s)
        except GroupBrokenError as error:
            raise TransportUnusableError(segment="", reason=str(error)) from error

    async def _started(self, run: str) -> GroupChild:
        if self._child is None or not self._child.is_alive:
            self._child = await GroupChild.start(
                "holder",
                (run, self._incarnation),
                peer=PEER,
                environment=child_environment(os.environ),
                timeout_s=self._timeout_s,
            )
        return self._child
