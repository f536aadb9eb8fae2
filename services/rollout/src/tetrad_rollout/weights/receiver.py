"""Fetches a version from the broadcaster into the engine's stage buffer, verified.

Owns the asking, the choice of transport and the release. Never touches live parameters: what is done with a staged
version is the engine's business. How the bytes come is a module per transport; all copy and digest in a thread while
the event loop serves.

A transport is used once it is proved: what cannot be reached is left out of the next question. Nothing of that is kept
for the next version, since asking costs one round trip and what was out of reach may be back.
"""

import asyncio
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from tetrad_rollout.weights.cuda_ipc import CudaIpc, DeviceStage
from tetrad_rollout.weights.errors import TransferBrokenError, VersionNotOfferedError, VersionSupersededError
from tetrad_rollout.weights.shared_memory import SharedMemory
from tetrad_rollout.weights.sockets import Question, Sockets
from tetrad_rollout.weights.transport import Filler
from tetrad_runtime.backoff import Backoff
from tetrad_telemetry.logs import get_logger
from tetrad_transport import ClosedError, Connection, DeadlineError, RefusedError, TransportError
from tetrad_weights.digest import Bytes
from tetrad_weights.errors import TransportUnusableError
from tetrad_weights.manifest import check_offer
from tetrad_weights.owners import pid_space, this_process
from tetrad_wire import RemoteProtocolError
from tetrad_wire.errors import Violation
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.weights import (
    Canary,
    Manifest,
    PullVersion,
    SegmentReleased,
    VersionOffered,
    VersionUnavailable,
    WeightTransport,
)

# A lost question is asked again; asking twice is harmless.
RESEND_S: Final = 1.0
ON_HOST: Final = (WeightTransport.SHARED_MEMORY, WeightTransport.SOCKET)
"""Transports for engines that take bytes from the host, the fastest first."""
PREFERRED: Final = (WeightTransport.CUDA_IPC, *ON_HOST)
"""Every transport, the fastest first."""

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
    """Moving and digesting the last version."""
    last_transport: WeightTransport | None = None
    """By which the last version came."""


class WeightReceiver:
    """Fetches one version at a time for one replica."""

    def __init__(
        self,
        connection: Connection,
        *,
        incarnation: Incarnation,
        replica: str,
        timeout_s: float,
        transports: Sequence[WeightTransport] = PREFERRED,
        gpu: str = "",
        num_threads: int | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._connection = connection
        self._incarnation = incarnation
        self._replica = replica
        self._timeout_s = timeout_s
        self._gpu = gpu
        self._preferred = tuple(transports)
        self._backoff = backoff or Backoff(first_s=0.02, limit_s=0.5, jitter=0.5)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="weight-receiver")
        self._cuda_ipc = CudaIpc(self._thread)
        self._fillers: Mapping[WeightTransport, Filler] = {
            WeightTransport.SHARED_MEMORY: SharedMemory(self._thread, num_threads=num_threads),
            WeightTransport.SOCKET: Sockets(self._thread, self._request, incarnation=incarnation),
        }
        self._statistics = ReceiverStatistics()
        self._is_fetching = asyncio.Lock()
        self.canary: Canary | None = None
        """What the learner said of the last version that was fetched."""

    def statistics(self) -> ReceiverStatistics:
        """Counters since the start."""
        return self._statistics

    async def fetch(self, version: PolicyVersion, stage: Stage, on_device: DeviceStage | None = None) -> Manifest:
        """Fill the buffer that `stage` returns with a version and return its manifest, every digest checked.

        What lies on the engine's own GPU is left to `on_device`; without it such an offer is not asked for.

        Raises a FetchError; DigestMismatchError naming the tensor, TransportUnusableError or ManifestError where the
        bytes cannot be had. However it ends, nothing writes into the buffer afterwards and the broadcaster is told that
        its segment is free.
        """
        async with self._is_fetching:
            manifest: Manifest | None = None
            try:
                manifest = await self._fetch(version, stage, on_device)
            finally:
                # Also where the offer is still on its way: it would stand until its deadline.
                self._release(version, manifest, error=sys.exception())
            return manifest

    def use(self, connection: Connection) -> None:
        """Ask another broadcaster from the next fetch on."""
        self._connection = connection

    @property
    def _usable(self) -> tuple[WeightTransport, ...]:
        return tuple(way for way in self._preferred if self._gpu or way is not WeightTransport.CUDA_IPC)

    def read_on(self, gpu: str) -> None:
        """From the next fetch on the engine reads memory of this GPU; an engine may be built later than we are."""
        self._gpu = gpu

    def close(self) -> None:
        """End the thread; what is being fetched must have been cancelled."""
        self._thread.shutdown()
        self._cuda_ipc.close()
        for filler in self._fillers.values():
            filler.close()

    async def _fetch(self, version: PolicyVersion, stage: Stage, on_device: DeviceStage | None) -> Manifest:
        left = [way for way in self._usable if on_device is not None or way is not WeightTransport.CUDA_IPC]
        while True:
            offer = await self._pull(version, left)
            # The offer stands from here on, not from when the engine has a buffer ready.
            deadline = time.monotonic() + offer.deadline_s
            check_offer(offer.manifest, offer.segment)
            try:
                await self._take(offer, stage, on_device, deadline=deadline)
            except TransportUnusableError as error:
                left.remove(offer.transport)
                if not left:
                    raise
                log.info("transport_unusable", transport=offer.transport.value, reason=str(error))
            else:
                return offer.manifest

    async def _take(
        self, offer: VersionOffered, stage: Stage, on_device: DeviceStage | None, *, deadline: float
    ) -> None:
        """Prove the transport, then have the bytes brought by it."""
        started = time.monotonic()
        if offer.transport is WeightTransport.CUDA_IPC:
            assert on_device is not None, "it was not asked for"
            await self._cuda_ipc.prove(offer)
            await self._cuda_ipc.fill(offer, on_device, deadline=deadline)
        else:
            filler = self._fillers[offer.transport]
            await filler.prove(offer)
            buffer = _checked(stage(offer.manifest), offer.manifest)
            await filler.fill(offer, buffer, deadline=deadline)
        self._statistics.last_copy_s = seconds = time.monotonic() - started
        self._statistics.last_transport = offer.transport
        self.canary = offer.canary
        log.info("version_fetched", version=offer.version, transport=offer.transport.value, seconds=round(seconds, 4))

    async def _pull(self, version: PolicyVersion, transports: Sequence[WeightTransport]) -> VersionOffered:
        deadline = time.monotonic() + self._timeout_s
        reason = "no answer"
        attempt = 0
        while True:
            try:
                reply = await self._ask(version, transports, timeout_s=deadline - time.monotonic())
            except DeadlineError:
                raise VersionNotOfferedError(version=version, limit_s=self._timeout_s, reason=reason) from None
            if isinstance(reply, VersionOffered):
                return reply
            if reply.holds and min(reply.holds) > version:
                raise VersionSupersededError(version=version, holds=reply.holds)
            reason = f"{reply.reason}; the broadcaster holds {', '.join(map(str, reply.holds)) or 'nothing'}"
            await asyncio.sleep(self._backoff.delay_s(attempt, draw=random.random()))
            attempt += 1

    async def _ask(
        self, version: PolicyVersion, transports: Sequence[WeightTransport], *, timeout_s: float
    ) -> VersionOffered | VersionUnavailable:
        process = this_process()
        question = PullVersion(
            version=version,
            incarnation=self._incarnation,
            name=self._replica,
            pid=process.pid,
            gpu=self._gpu,
            started=process.started,
            pid_space=pid_space(),
            transports=tuple(transports),
        )
        reply = await self._request(question, timeout_s=max(0.0, timeout_s), resend_s=RESEND_S)
        match reply:
            case VersionOffered() if reply.version == version and reply.transport in transports and reply.base is None:
                return reply
            case VersionUnavailable() if reply.version == version:
                return reply
            case _:
                raise RemoteProtocolError(
                    Violation.SCHEMA, f"{type(reply).__name__} answers no pull of version {version}"
                )

    async def _request(self, body: Question, *, timeout_s: float, resend_s: float) -> msgspec.Struct:
        try:
            return await self._connection.request(body, timeout_s=timeout_s, resend_s=resend_s)
        except ClosedError:
            # Another broadcaster has taken its place, and `use` was called.
            raise TransferBrokenError(version=body.version, reason="its connection was closed") from None
        except RefusedError as error:
            raise TransferBrokenError(version=body.version, reason=str(error)) from error

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
