"""Bytes out of ranks' memory on the GPUs that the engine is on too; the engine copies and digests there."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from functools import partial

from tetrad_rollout.weights.errors import FetchDeadlineError
from tetrad_rollout.weights.transport import in_thread
from tetrad_weights.attachments import Maps
from tetrad_wire.messages.weights import DeviceHandle, Manifest, VersionOffered

DeviceStage = Callable[[Manifest, DeviceHandle, Sequence[DeviceHandle]], Awaitable[None]]
"""Has the engine copy a version from GPU memory and verify it; raises TransportUnusableError, DigestMismatchError.

The memory on its first GPU, and on those of its others where there is any.
"""


class CudaIpc:
    """Leaves the copy to the engine, whose GPU it is."""

    def __init__(self, thread: Executor) -> None:
        self._thread = thread
        self._gates = Maps()

    async def prove(self, offer: VersionOffered) -> None:
        """Read the nonces of the memories' gates back; whether CUDA maps them shows when they are read."""
        for device in (_device(offer), *offer.other_devices):
            await in_thread(self._thread, partial(self._gates.prove, device.gate))

    async def fill(self, offer: VersionOffered, stage: DeviceStage, *, deadline: float) -> None:
        """Have the engine copy it; raises FetchDeadlineError once `deadline` on the monotonic clock has come."""
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await stage(offer.manifest, _device(offer), offer.other_devices)
        except TimeoutError:
            at = "a copy out of another process's GPU memory"
            raise FetchDeadlineError(version=offer.version, limit_s=offer.deadline_s, at=at) from None

    def close(self) -> None:
        """Let go of the gates."""
        self._gates.close()


def _device(offer: VersionOffered) -> DeviceHandle:
    assert offer.device is not None, "an offer by CUDA IPC names its memory"
    return offer.device
