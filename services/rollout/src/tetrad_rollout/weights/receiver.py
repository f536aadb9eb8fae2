"""Fetches a version from the broadcaster into the engine's stage buffer, verified.

Owns the asking, the choice of transport and the release. Never touches live parameters: what is done with a staged
version is the engine's business. How the bytes come is a module per transport; all copy and digest in a thread while
the event loop serves.

A transport is used once it is proved: what cannot be reached is left out of the next question. Nothing of that is kept
for the next version, since asking costs one round trip and what was out of reach may be back.
"""

import asyncio
import itertools
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
from tetrad_rollout.weights.nccl import PEER, Nccl, memory_of
from tetrad_rollout.weights.parts import Parts
from tetrad_rollout.weights.shared_memory import SharedMemory
from tetrad_rollout.weights.sockets import Sockets
from tetrad_rollout.weights.transport import Filler, Question
from tetrad_runtime.backoff import Backoff
from tetrad_telemetry.logs import get_logger
from tetrad_transport import ClosedError, Connection, DeadlineError, RefusedError, TransportError
from tetrad_weights.digest import Bytes
from tetrad_weights.errors import GroupBrokenError, TransportUnusableError, WeightsError
from tetrad_weights.manifest import check_offer
from tetrad_weights.owners import pid_space, this_process
from tetrad_wire import RemoteProtocolError
from tetrad_wire.errors import Violation
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.groups import FormGroup
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
PREFERRED: Final = (WeightTransport.CUDA_IPC, WeightTransport.NCCL, *ON_HOST)
"""Every transport, the fastest first for an engine on a GPU. On the host collectives gain nothing over `ON_HOST`."""
WHY: Final = {
    WeightTransport.CUDA_IPC: "the weights lie on this engine's GPU",
    WeightTransport.SHARED_MEMORY: "the broadcaster's memory can be read from here",
    WeightTransport.NCCL: "a process group with the broadcaster was proved",
    WeightTransport.SOCKET: "the connection to the broadcaster is there",
}
# Making a group and receiving in it may each take so much of a sync's time: then a second group fits, or sockets.
GROUP_SHARE: Final = 1 / 3
MAX_GROUPS: Final = 2
"""That break in one fetch, before the next transport is taken."""

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
    last_receive_s: float = 0.0
    """Of it, in collectives; 0 where it came otherwise."""
    last_transport: WeightTransport | None = None
    """By which the last version came."""
    num_groups_broken: int = 0
    """Process groups that failed, died or were late."""
    group_bytes_per_s: float = 0.0
    """That the last group was proved with; 0 without one."""


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
        nccl: Nccl | None = None,
    ) -> None:
        self._connection = connection
        self._incarnation = incarnation
        self._replica = replica
        self._timeout_s = timeout_s
        self._gpu = gpu
        self._other_gpus: tuple[str, ...] = ()
        self._preferred = tuple(transports)
        self._backoff = backoff or Backoff(first_s=0.02, limit_s=0.5, jitter=0.5)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="weight-receiver")
        self._cuda_ipc = CudaIpc(self._thread)
        self._fillers: Mapping[WeightTransport, Filler] = {
            WeightTransport.SHARED_MEMORY: SharedMemory(self._thread, num_threads=num_threads),
            WeightTransport.SOCKET: Sockets(self._thread, self._request, incarnation=incarnation),
        }
        self._nccl = nccl or Nccl(incarnation=incarnation, replica=replica)
        self._nccl.ask_by(self._request)
        self._parts = Parts(self._thread, self._nccl)
        self._pulls = itertools.count(1)
        self._passed_over: dict[WeightTransport, str] = {}
        self._statistics = ReceiverStatistics()
        self._is_fetching = asyncio.Lock()
        self.at = ""
        """What the fetch under way waits for: of whom, by which transport."""
        self._way: WeightTransport | None = None
        self._broken: GroupBrokenError | None = None
        self.canary: Canary | None = None
        """What the learner said of the last version that was fetched."""

    def statistics(self) -> ReceiverStatistics:
        """Counters since the start."""
        return self._statistics

    async def fetch(
        self, version: PolicyVersion, stage: Stage, on_device: DeviceStage | None = None, *, is_in_place: bool = False
    ) -> Manifest:
        """Fill the buffer that `stage` returns with a version and return its manifest, every digest checked.

        What lies on the engine's own GPU is left to `on_device`; without it such an offer is not asked for. With
        `is_in_place` there is no memory for a version but that buffer: what comes by collectives comes in parts.

        Raises a FetchError; DigestMismatchError naming the tensor, TransportUnusableError or ManifestError where the
        bytes cannot be had. However it ends, nothing writes into the buffer afterwards and the broadcaster is told that
        its segment is free.
        """
        async with self._is_fetching:
            manifest: Manifest | None = None
            try:
                manifest = await self._fetch(version, stage, on_device, is_in_place=is_in_place)
            finally:
                # Also where the offer is still on its way: it would stand until its deadline.
                self._release(version, manifest, error=sys.exception())
            return manifest

    @property
    def progress(self) -> str:
        """How far it is with that: bucket or chunk, and ranks; and where a group broke in this fetch before."""
        filler = self._fillers.get(self._way) if self._way is not None else None
        so_far = self._nccl.progress if self._way is WeightTransport.NCCL else filler.progress if filler else ""
        return "".join(f": {part}" for part in (so_far, f"after {self._broken}" if self._broken else "") if part)

    def use(self, connection: Connection) -> None:
        """Ask another broadcaster from the next fetch on; it knows no group of ours, and says so."""
        self._connection = connection

    @property
    def _usable(self) -> tuple[WeightTransport, ...]:
        if self._gpu:
            return self._preferred
        if self._preferred == PREFERRED:
            return ON_HOST
        return tuple(way for way in self._preferred if way is not WeightTransport.CUDA_IPC)

    def read_on(self, gpu: str, other_gpus: Sequence[str] = ()) -> None:
        """From the next fetch on the engine reads memory of these GPUs; an engine may be built later than we are."""
        self._gpu, self._other_gpus = gpu, tuple(other_gpus)

    async def end_group(self) -> None:
        """Kill the receiver of collectives, where there is one."""
        await self._nccl.end()

    def close(self) -> None:
        """End the thread; what is being fetched must have been cancelled."""
        self._thread.shutdown()
        self._cuda_ipc.close()
        self._parts.close()
        self._nccl.close()
        for filler in self._fillers.values():
            filler.close()

    async def _fetch(
        self, version: PolicyVersion, stage: Stage, on_device: DeviceStage | None, *, is_in_place: bool
    ) -> Manifest:
        left = [way for way in self._usable if on_device is not None or way is not WeightTransport.CUDA_IPC]
        self._passed_over.clear()
        self._broken = None
        num_broken = 0
        while True:
            way = WeightTransport.NCCL
            try:
                offer = await self._pull(version, left)
                if offer is None:
                    await self._form_group()
                    continue
                # The offer stands from here on, not from when the engine has a buffer ready.
                deadline, way = time.monotonic() + offer.deadline_s, offer.transport
                check_offer(offer.manifest, offer.segment)
                await self._take(offer, stage, on_device, deadline=deadline, is_in_place=is_in_place)
            except TransportUnusableError as error:
                self._pass_over(way, left, error)
            except GroupBrokenError as error:
                num_broken += 1
                self._broken = error
                self._statistics.num_groups_broken += 1
                log.warning("group_broken", peer=error.peer, at=error.at, seconds=error.seconds, reason=error.reason)
                if num_broken == MAX_GROUPS:
                    self._pass_over(way, left, error)
            else:
                return offer.manifest

    def _pass_over(self, way: WeightTransport, left: list[WeightTransport], error: WeightsError) -> None:
        """Do without a transport; raise why where none is left."""
        left.remove(way)
        if not left:
            raise error
        self._passed_over[way] = str(error)
        log.info("transport_unusable", transport=way.value, reason=str(error))

    async def _form_group(self) -> None:
        limit_s = self._timeout_s * GROUP_SHARE
        self.at, self._way = "making a process group with the broadcaster", WeightTransport.NCCL
        link = await self._nccl.form(is_on_gpu=bool(self._gpu), start_s=self._timeout_s, limit_s=limit_s)
        self._statistics.group_bytes_per_s = link.bytes_per_s

    async def _take(
        self,
        offer: VersionOffered,
        stage: Stage,
        on_device: DeviceStage | None,
        *,
        deadline: float,
        is_in_place: bool,
    ) -> None:
        """Have the bytes brought by the offer's transport."""
        started = time.monotonic()
        num_mb = offer.manifest.num_bytes / 1e6
        self.at = f"receiving {num_mb:.1f} MB from the broadcaster by {offer.transport.value}"
        self._way = offer.transport
        self._statistics.last_receive_s = 0.0
        limit = min(deadline, started + self._timeout_s * GROUP_SHARE)
        if offer.transport is WeightTransport.NCCL and is_in_place:
            await self._parts.fill(offer, lambda: _checked(stage(offer.manifest), offer.manifest), deadline=limit)
            self._statistics.last_receive_s = time.monotonic() - started
        elif offer.transport is WeightTransport.NCCL:
            local = memory_of(offer, await self._nccl.receive(offer, deadline=limit))
            self._statistics.last_receive_s = time.monotonic() - started
            await self._copy(local, stage, on_device, deadline=deadline)
        else:
            await self._copy(offer, stage, on_device, deadline=deadline)
        self._announce(offer.transport)
        self._statistics.last_copy_s = seconds = time.monotonic() - started
        self._statistics.last_transport = offer.transport
        self.canary = offer.canary
        log.info("version_fetched", version=offer.version, transport=offer.transport.value, seconds=round(seconds, 4))

    async def _copy(
        self, local: VersionOffered, stage: Stage, on_device: DeviceStage | None, *, deadline: float
    ) -> None:
        """Prove the memory or connection, then have the bytes out of it."""
        if local.device is not None:
            assert on_device is not None, "it was not asked for"
            await self._cuda_ipc.prove(local)
            await self._cuda_ipc.fill(local, on_device, deadline=deadline)
            return
        filler = self._fillers[WeightTransport.SHARED_MEMORY if local.segment is not None else local.transport]
        await filler.prove(local)
        buffer = _checked(stage(local.manifest), local.manifest)
        await filler.fill(local, buffer, deadline=deadline)

    def _announce(self, transport: WeightTransport) -> None:
        """Say by what weights come now, and why not by something faster; once for each change."""
        if transport is not self._statistics.last_transport:
            others = {way.value: reason for way, reason in self._passed_over.items()}
            log.info("transport_chosen", transport=transport.value, because=WHY[transport], passed_over=others)

    async def _pull(self, version: PolicyVersion, transports: Sequence[WeightTransport]) -> VersionOffered | None:
        """The offer; None where there would be one by `nccl`, had we a group."""
        deadline = time.monotonic() + self._timeout_s
        reason = "no answer"
        attempt = 0
        while True:
            self.at, self._way = f"asking the broadcaster for it ({reason})", None
            try:
                reply = await self._ask(version, transports, timeout_s=deadline - time.monotonic())
            except DeadlineError:
                raise VersionNotOfferedError(version=version, limit_s=self._timeout_s, reason=reason) from None
            if isinstance(reply, VersionOffered):
                return reply
            if reply.needs_group:
                return None
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
            other_gpus=self._other_gpus,
            started=process.started,
            pid_space=pid_space(),
            transports=tuple(transports),
            group=self._nccl.link.group if self._nccl.link else "",
            attempt=next(self._pulls),
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
        except (ClosedError, RefusedError) as error:
            # Closed: another broadcaster has taken its place, and `use` was called.
            reason = "its connection was closed" if isinstance(error, ClosedError) else str(error)
            if isinstance(body, FormGroup):
                raise GroupBrokenError(peer=PEER, at="asking", seconds=0.0, reason=reason) from error
            raise TransferBrokenError(version=body.version, reason=reason) from error

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
