"""Bytes by collectives a bucket at a time, for an engine that has no room for a version beside its own weights.

The receiver needs a bucket's memory only. The engine's buffer is asked for when the first bucket is there: a group that
breaks before that has cost the engine nothing.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial

from tetrad_rollout.weights.nccl import Nccl
from tetrad_rollout.weights.transport import in_thread
from tetrad_weights.attachments import Maps
from tetrad_weights.digest import Bytes
from tetrad_weights.group_sides import Bucket
from tetrad_weights.writing import VersionWriter
from tetrad_wire.messages.weights import SegmentHandle, VersionOffered


class Parts:
    """Writes each bucket to its place, and digests it on the way."""

    def __init__(self, thread: Executor, nccl: Nccl) -> None:
        self._thread = thread
        self._nccl = nccl
        self._maps = Maps()

    async def fill(self, offer: VersionOffered, begin: Callable[[], Bytes], *, deadline: float) -> None:
        """Fill the buffer that `begin` returns; raises like `Nccl.receive`, and DigestMismatchError."""
        writer: VersionWriter | None = None

        async def take(bucket: Bucket, segment: SegmentHandle) -> None:
            nonlocal writer
            if writer is None:
                writer = VersionWriter(offer.manifest, begin())
            await in_thread(self._thread, partial(self._write, writer, bucket, segment))

        await self._nccl.receive_parts(offer, take, deadline=deadline)
        (writer or VersionWriter(offer.manifest, begin())).finish()

    def close(self) -> None:
        """Unmap the receiver's memory."""
        self._maps.close()

    def _write(self, writer: VersionWriter, bucket: Bucket, segment: SegmentHandle) -> None:
        with self._maps.attach(segment) as attachment:
            writer.write(bucket.start, attachment.payload[: bucket.end - bucket.start])
