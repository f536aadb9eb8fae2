"""Takes a version from the learner: attach, clone into a segment of our own, verify on the way.

Owns the ring of segments. One version at a time; the blocking part runs in a thread. Must not know any socket.
"""

import asyncio
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from tetrad_broadcaster.device_holder import DeviceHolder
from tetrad_broadcaster.metrics import Failure
from tetrad_broadcaster.shelf import Held, Shelf, VersionConflictError
from tetrad_telemetry.logs import get_logger
from tetrad_weights.attachments import Attachment, Maps
from tetrad_weights.copying import copy_verified
from tetrad_weights.errors import (
    CopyStoppedError,
    DigestMismatchError,
    GroupUnusableError,
    ManifestError,
    SegmentAllocationError,
    SegmentsBusyError,
    TransportUnusableError,
    WeightsError,
)
from tetrad_weights.manifest import check_device, check_offer, verify
from tetrad_weights.ring import SegmentRing
from tetrad_weights.segments import Segment
from tetrad_wire.messages.weights import PublishVersion, SegmentHandle

log = get_logger(__name__)

FAILURES: Final[dict[type[Exception], tuple[Failure, bool]]] = {
    VersionConflictError: (Failure.CONFLICT, False),
    ManifestError: (Failure.CONFLICT, False),
    DigestMismatchError: (Failure.MISMATCH, False),
    TransportUnusableError: (Failure.UNREACHABLE, False),
    GroupUnusableError: (Failure.UNREACHABLE, False),
    SegmentsBusyError: (Failure.BUSY, True),
    SegmentAllocationError: (Failure.NO_MEMORY, True),
    CopyStoppedError: (Failure.GIVEN_UP, True),
}
"""Error → how it is counted, and whether the same request may succeed later."""


class RefusedError(Exception):
    """A version cannot be taken; the reason is for the learner."""

    def __init__(self, failure: Failure, reason: str, *, may_retry: bool) -> None:
        super().__init__(reason)
        self.failure, self.reason, self.may_retry = failure, reason, may_retry


class Intake:
    """Fills the shelf."""

    def __init__(
        self, shelf: Shelf, ring: SegmentRing, *, holder: DeviceHolder, num_threads: int | None = None
    ) -> None:
        self._shelf = shelf
        self._ring = ring
        self._holder = holder
        self._maps = Maps()
        self._num_threads = num_threads
        self._is_taking = asyncio.Lock()
        self._is_closing = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="intake")

    @property
    def is_busy(self) -> bool:
        """Whether a version is being taken."""
        return self._is_taking.locked()

    async def take(self, publish: PublishVersion, *, pinned: Collection[str]) -> Held:
        """Return the version once it is ours and verified; raise RefusedError saying why not.

        `pinned` names segments that engines may be about to read. Taking what is already here costs nothing.
        """
        async with self._is_taking:
            try:
                return await self._take(publish, pinned)
            except (WeightsError, VersionConflictError) as error:
                failure, may_retry = FAILURES[type(error)]
                raise RefusedError(failure, str(error), may_retry=may_retry) from error

    async def bring_to_host(self, held: Held, *, pinned: Collection[str]) -> None:
        """Have a version that lies on a GPU in a segment too, verified; raise WeightsError saying why it cannot be."""
        async with self._is_taking:
            if self._shelf.get(held.version) is not held:
                return
            loop, in_use = asyncio.get_running_loop(), {*pinned, *self._shelf.segments()}
            take = partial(self._ring.take, held.manifest.num_bytes, pinned=in_use)
            segment = await loop.run_in_executor(self._thread, take)
            try:
                await self._holder.to_host(held.version, segment.handle)
                check = partial(verify, held.manifest, segment.payload, num_threads=self._num_threads)
                await loop.run_in_executor(self._thread, check)
            finally:
                segment.end_writing()
            self._shelf.replace(held, segment=segment.handle)

    def trim(self, *, pinned: Collection[str]) -> None:
        """Give back memory that nobody reads any more, unless a version is just being taken."""
        if not self.is_busy:
            self._ring.trim(pinned={*pinned, *self._shelf.segments()})

    def close(self) -> None:
        """Stop what is being taken and remove every segment."""
        self._is_closing.set()
        self._thread.shutdown()
        self._maps.close()
        self._ring.close()

    async def _take(self, publish: PublishVersion, pinned: Collection[str]) -> Held:
        check_offer(publish.manifest, publish.segment)
        for device in (*publish.devices, *([publish.relay] if publish.relay else [])):
            check_device(publish.manifest, device)
        held = self._shelf.find(publish.version, publish.manifest.digest)
        if held is not None:
            return held
        self._shelf.make_way(pinned=pinned)
        in_use = {*pinned, *self._shelf.segments()}
        handle: SegmentHandle | None = None
        if publish.segment is not None:
            source = publish.segment
            loop = asyncio.get_running_loop()
            handle = await loop.run_in_executor(self._thread, self._clone, publish, source, in_use)
        is_relayed = await self._relay(publish)
        held = Held(
            version=publish.version,
            step=publish.step,
            manifest=publish.manifest,
            segment=handle,
            devices=publish.devices,
            canary=publish.canary,
            relay_gpu=publish.relay.gpu if publish.relay and is_relayed else "",
        )
        self._shelf.put(held)
        return held

    async def _relay(self, publish: PublishVersion) -> bool:
        """Have a copy of our own in GPU memory; without one, engines elsewhere take it from the host if it is there."""
        if publish.relay is None:
            return False
        kept = (*self._shelf.holds, publish.version)
        try:
            await self._holder.clone(publish.version, publish.relay, run=self._ring.run, kept=kept)
        except TransportUnusableError as error:
            if publish.segment is None:
                raise
            log.error("version_not_relayed", version=publish.version, reason=str(error))  # noqa: TRY400 - it says it all
            return False
        return True

    def _clone(self, publish: PublishVersion, handle: SegmentHandle, in_use: Collection[str]) -> SegmentHandle:
        with self._maps.attach(handle) as source:
            segment = self._ring.take(publish.manifest.num_bytes, pinned=in_use)
            try:
                self._copy(source, segment, publish)
            finally:
                segment.end_writing()
        return segment.handle

    def _copy(self, source: Attachment, segment: Segment, publish: PublishVersion) -> None:
        copy_verified(
            source.payload,
            segment.payload,
            publish.manifest,
            num_threads=self._num_threads,
            should_stop=self._is_closing.is_set,
        )
