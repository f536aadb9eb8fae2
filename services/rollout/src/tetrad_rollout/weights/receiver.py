"""Fetches a version from the broadcaster into the engine's stage buffer, verified.

Owns the asking, the attachment and the release. Never touches live parameters: what is done with a staged version
is the engine's business. The bytes are copied and digested in a thread while the event loop serves.
"""

import asyncio
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from tetrad_rollout.weights.errors import FetchDeadlineError, VersionNotOfferedError, VersionSupersededError
from tetrad_runtime.backoff import Backoff
from tetrad_telemetry.logs import get_logger
from tetrad_transport import Connection, DeadlineError, TransportError
from tetrad_weights.attachments import Maps
from tetrad_weights.copying import copy_verified
from tetrad_weights.digest import Bytes
from tetrad_weights.errors import CopyStoppedError
from tetrad_weights.manifest import check_offer
from tetrad_weights.owners import this_process
from tetrad_wire import RemoteProtocolError
from tetrad_wire.errors import Violation
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.weights import (
    Manifest,
    PullVersion,
    SegmentReleased,
    VersionOffered,
    VersionUnavailable,
)

# A lost question is asked again; asking twice is harmless.
RESEND_S: Final = 1.0

Stage = Callable[[Manifest], Bytes]
"""Returns the buffer to fill: uint8[manifest.num_bytes], writable. Called on the event loop."""

log = get_logger(__name__)


@dataclass(slots=True)
class ReceiverStatistics:
    """What one receiver has done."""

    num_fetched: int = 0
    num_failed: int = 0
    bytes_fetched: int = 0
    last_copy_s: float = 0.0
    """Attaching, copying and digesting the last version."""


class WeightReceiver:
    """Fetches one version at a time for one replica."""

    def __init__(
        self,
        connection: Connection,
        *,
        incarnation: Incarnation,
        replica: str,
        timeout_s: float,
        num_threads: int | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._connection = connection
        self._incarnation = incarnation
        self._replica = replica
        self._timeout_s = timeout_s
        self._num_threads = num_threads
        self._backoff = backoff or Backoff(first_s=0.02, limit_s=0.5, jitter=0.5)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="weight-receiver")
        self._maps = Maps()
        self._statistics = ReceiverStatistics()
        self._is_fetching = asyncio.Lock()

    def statistics(self) -> ReceiverStatistics:
        """Counters since the start."""
        return self._statistics

    async def fetch(self, version: PolicyVersion, stage: Stage) -> Manifest:
        """Fill the buffer that `stage` returns with a version and return its manifest, every digest checked.

        Raises VersionNotOfferedError, VersionSupersededError or FetchDeadlineError; DigestMismatchError naming the
        tensor, TransportUnusableError or ManifestError where the bytes cannot be had. However it ends, nothing
        writes into the buffer afterwards and the broadcaster is told that its segment is free.
        """
        async with self._is_fetching:
            manifest: Manifest | None = None
            try:
                manifest = await self._fetch(version, stage)
            finally:
                # Also where the offer is still on its way: it would stand until its deadline.
                self._release(version, manifest, error=sys.exception())
            return manifest

    def use(self, connection: Connection) -> None:
        """Ask another broadcaster from the next fetch on."""
        self._connection = connection

    def close(self) -> None:
        """End the thread; what is being fetched must have been cancelled."""
        self._thread.shutdown()
        self._maps.close()

    async def _fetch(self, version: PolicyVersion, stage: Stage) -> Manifest:
        offer = await self._pull(version)
        # The offer stands from here on, not from when the engine has a buffer ready.
        deadline = time.monotonic() + offer.deadline_s
        check_offer(offer.manifest, offer.segment)
        buffer = _checked(stage(offer.manifest), offer.manifest)
        started = time.monotonic()
        await self._copy(offer, buffer, deadline=deadline)
        self._statistics.last_copy_s = time.monotonic() - started
        return offer.manifest

    async def _pull(self, version: PolicyVersion) -> VersionOffered:
        deadline = time.monotonic() + self._timeout_s
        reason = "no answer"
        attempt = 0
        while True:
            try:
                reply = await self._ask(version, timeout_s=deadline - time.monotonic())
            except DeadlineError:
                raise VersionNotOfferedError(version=version, limit_s=self._timeout_s, reason=reason) from None
            if isinstance(reply, VersionOffered):
                return reply
            if reply.holds and min(reply.holds) > version:
                raise VersionSupersededError(version=version, holds=reply.holds)
            reason = f"{reply.reason}; the broadcaster holds {', '.join(map(str, reply.holds)) or 'nothing'}"
            await asyncio.sleep(self._backoff.delay_s(attempt, draw=random.random()))
            attempt += 1

    async def _ask(self, version: PolicyVersion, *, timeout_s: float) -> VersionOffered | VersionUnavailable:
        process = this_process()
        question = PullVersion(
            version=version,
            incarnation=self._incarnation,
            name=self._replica,
            pid=process.pid,
            started=process.started,
        )
        reply = await self._connection.request(question, timeout_s=max(0.0, timeout_s), resend_s=RESEND_S)
        if not isinstance(reply, VersionOffered | VersionUnavailable) or reply.version != version:
            raise RemoteProtocolError(Violation.SCHEMA, f"{type(reply).__name__} answers no pull of version {version}")
        return reply

    async def _copy(self, offer: VersionOffered, buffer: Bytes, *, deadline: float) -> None:
        stop = threading.Event()

        def copy() -> None:
            with self._maps.attach(offer.segment) as attachment:
                copy_verified(
                    attachment.payload,
                    buffer,
                    offer.manifest,
                    num_threads=self._num_threads,
                    should_stop=lambda: stop.is_set() or time.monotonic() > deadline,
                )

        copying = asyncio.get_running_loop().run_in_executor(self._thread, copy)
        try:
            await asyncio.shield(copying)
        except CopyStoppedError:
            raise FetchDeadlineError(version=offer.version, limit_s=offer.deadline_s) from None
        except asyncio.CancelledError:
            # The thread must be out of the buffer before the caller gets it back: one chunk's time.
            stop.set()
            await asyncio.gather(copying, return_exceptions=True)
            raise

    def _release(self, version: PolicyVersion, manifest: Manifest | None, *, error: BaseException | None) -> None:
        self._count(manifest)
        released = SegmentReleased(
            version=version,
            incarnation=self._incarnation,
            digest=manifest.digest if manifest else "",
            reason="" if manifest else f"{type(error).__name__}: {error}",
        )
        try:
            self._connection.send_nowait(released)
        except TransportError as failure:
            # The broadcaster is gone or does not hear us: the right ends by its deadline, the lock is free already.
            log.warning("release_not_sent", version=version, reason=str(failure))

    def _count(self, manifest: Manifest | None) -> None:
        if manifest is None:
            self._statistics.num_failed += 1
        else:
            self._statistics.num_fetched += 1
            self._statistics.bytes_fetched += manifest.num_bytes


def _checked(buffer: Bytes, manifest: Manifest) -> Bytes:
    if buffer.dtype != np.uint8 or buffer.shape != (manifest.num_bytes,) or not buffer.flags.writeable:
        raise ValueError(
            f"the stage buffer is {buffer.dtype}{list(buffer.shape)}; it must be writable uint8[{manifest.num_bytes}]"
        )
    return buffer
