"""Bytes out of the broadcaster's shared-memory segment."""

import threading
import time
from concurrent.futures import Executor

from tetrad_rollout.weights.errors import FetchDeadlineError
from tetrad_rollout.weights.transport import in_thread
from tetrad_weights.attachments import Maps
from tetrad_weights.copying import copy_verified
from tetrad_weights.digest import Bytes
from tetrad_weights.errors import CopyStoppedError
from tetrad_wire.messages.weights import SegmentHandle, VersionOffered


class SharedMemory:
    """Copies and digests in one pass."""

    def __init__(self, thread: Executor, *, num_threads: int | None = None) -> None:
        self._thread = thread
        self._num_threads = num_threads
        self._maps = Maps()

    @property
    def progress(self) -> str:
        """Not known: it is one copy, by several threads."""
        return ""

    async def prove(self, offer: VersionOffered) -> None:
        """Read the segment's nonce back: its name alone proves no common memory."""
        await in_thread(self._thread, lambda: self._maps.prove(_segment(offer)))

    async def fill(self, offer: VersionOffered, buffer: Bytes, *, deadline: float) -> None:
        """Copy the segment."""
        stop = threading.Event()

        def copy() -> None:
            with self._maps.attach(_segment(offer)) as attachment:
                copy_verified(
                    attachment.payload,
                    buffer,
                    offer.manifest,
                    num_threads=self._num_threads,
                    should_stop=lambda: stop.is_set() or time.monotonic() > deadline,
                )

        try:
            await in_thread(self._thread, copy, on_cancel=stop.set)
        except CopyStoppedError:
            at = f"a copy of {offer.manifest.num_bytes} bytes out of shared memory"
            raise FetchDeadlineError(version=offer.version, limit_s=offer.deadline_s, at=at) from None

    def close(self) -> None:
        """Unmap every segment."""
        self._maps.close()


def _segment(offer: VersionOffered) -> SegmentHandle:
    assert offer.segment is not None, "an offer by shared memory names its segment"
    return offer.segment
