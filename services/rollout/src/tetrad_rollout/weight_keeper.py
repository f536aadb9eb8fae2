"""Keeps the engine on the wanted policy version and holds its certificate.

Stages while the engine serves, switches at a token boundary, certifies. Whatever fails is tried again while it is
still wanted, less and less often; an engine that cannot follow within the timeout says so, and the others go on without
it. One whose model is not that of the weights gives up.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from tetrad_rollout.engine.errors import EngineError, LayoutError
from tetrad_rollout.engine.protocol import CommitReport, Engine, WeightLayout
from tetrad_rollout.engine.update import commit_weights, overwrite_weights, prove_weights
from tetrad_rollout.occupation import OccupationClock
from tetrad_rollout.weights.errors import FetchError, SyncDeadlineError
from tetrad_rollout.weights.failure import UpdateFailure, failure_of
from tetrad_rollout.weights.nccl import Nccl
from tetrad_rollout.weights.receiver import PREFERRED, WeightReceiver
from tetrad_runtime.backoff import Backoff
from tetrad_runtime.exits import ConfigFault
from tetrad_telemetry.logs import get_logger
from tetrad_transport import Connection, PublicKey, Transport
from tetrad_weights.digest import DigestAlgorithm
from tetrad_weights.errors import WeightsError
from tetrad_weights.layout import Layout
from tetrad_weights.manifest import build
from tetrad_wire import WireError
from tetrad_wire.ids import Incarnation, PolicyVersion, RunId
from tetrad_wire.messages.membership import (
    CachePolicy,
    Certificate,
    Desired,
    EngineMemory,
    WantedWeights,
    WeightPhase,
    WeightProgress,
)
from tetrad_wire.messages.weights import Canary, DeviceHandle, Manifest, TensorSpec, WeightTransport

log = get_logger(__name__)

# The limit is what a broadcaster that came back is noticed late by.
RETRY: Final = Backoff(first_s=0.5, limit_s=5.0)
# A layout that does not fit the model will not fit it later; more than one attempt, since a message may be damaged.
MAX_MISFITS: Final = 3
# Of a failed attempt's reason, in each heartbeat until the next.
MAX_PROBLEM: Final = 500


class UpdatePart(StrEnum):
    """Parts of a weight update, in order."""

    STAGE = "stage"
    """Pulling, copying, digesting; the engine serves."""
    COMMIT = "commit"
    """From the pause of the engine until it has the weights."""
    PROVE = "prove"
    """The probe of what was committed."""


@dataclass(slots=True)
class LinkStatistics:
    """What is known of the way to the broadcaster."""

    num_groups_broken: int = 0
    """Process groups with it that failed, died or were late."""
    bytes_per_s: dict[WeightTransport, float] = field(default_factory=dict)
    """That the link was proved with."""


class Observer(Protocol):
    """Who wants to know of updates."""

    def updated(self, parts: Mapping[UpdatePart, float]) -> None:
        """The engine runs newer weights; seconds of each part."""

    def update_failed(self, reason: UpdateFailure) -> None:
        """The engine does not run what it should; it will try again."""


class WeightKeeper:
    """Follows the desired weights of one engine."""

    def __init__(
        self,
        engine: Engine,
        transport: Transport,
        *,
        name: str,
        incarnation: Incarnation,
        timeout_s: float,
        on_change: Callable[[], None],
        observer: Observer,
        clock: OccupationClock,
        transports: Sequence[WeightTransport] = PREFERRED,
        memory: EngineMemory = EngineMemory.AWAKE,
        nccl: Nccl | None = None,
        relay: str = "",
    ) -> None:
        self._engine = engine
        self._transport = transport
        self._name = name
        self._incarnation = incarnation
        self._timeout_s = timeout_s
        self._on_change = on_change
        self._observer = observer
        self._clock = clock
        self._parts: dict[UpdatePart, float] = {}
        self._hold(memory)
        self._committed: CommitReport | None = None
        self._attempt: asyncio.Task[bool] | None = None
        self._transports = tuple(transports)
        self._nccl = nccl
        self._relay = relay
        self._wanted: WantedWeights | None = None
        self._run = RunId("")
        self._broadcaster = ""
        self._connection: Connection | None = None
        self._receiver: WeightReceiver | None = None
        self._changed = asyncio.Event()
        self._canary: Canary | None = None
        self._phase, self._phase_since, self._problem = WeightPhase.WAITING, time.monotonic(), ""
        self._num_misfits = 0
        self.certificate: Certificate | None = None
        self.links = LinkStatistics()

    def follow(self, desired: Desired) -> None:
        """Note what is wanted now and where it can be had."""
        self._run = desired.run
        if self._relay:
            # A socket of this host: no key is asked for.
            if not self._broadcaster:
                self._connect(self._relay, PublicKey(""))
        elif desired.broadcaster and desired.broadcaster != self._broadcaster:
            self._connect(desired.broadcaster, PublicKey(desired.broadcaster_key))
        elif self._connection is not None:
            self._connection.recognise(PublicKey(desired.broadcaster_key))
        if desired.weights != self._wanted:
            self._wanted = desired.weights
            self._enter(WeightPhase.WAITING)
            self._changed.set()

    async def run(self) -> None:
        """Update whenever something newer is wanted, until cancelled.

        Raises ConfigFault where the weights are of another model than the engine's.
        """
        while True:
            await self._changed.wait()
            self._changed.clear()
            num_failures = 0
            while not self.is_current and not self._changed.is_set():
                if not await self._try_once():
                    await self._pause(RETRY.delay_s(num_failures))
                    num_failures += 1

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until something else is wanted."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def close(self) -> None:
        """End the processes that bring weights, where there are any."""
        if self._receiver is not None:
            await self._receiver.end_group()

    async def stand_down(self) -> None:
        """The engine loses its memory: stop what is under way; nothing is committed or certified any more."""
        self._hold(EngineMemory.ASLEEP)
        self.certificate = self._committed = None
        if self._attempt is not None and not self._attempt.done():
            self._attempt.cancel()
            await asyncio.wait({self._attempt})
        self._committed = None

    def stand_by(self, memory: EngineMemory) -> None:
        """Go on with so much memory: commit with that of the weights, prove and serve with all."""
        self._hold(memory)
        self._changed.set()

    def _hold(self, memory: EngineMemory) -> None:
        self._memory = memory
        self._clock.sleep(is_asleep=memory is not EngineMemory.AWAKE)

    @property
    def progress(self) -> WeightProgress | None:
        """How far it is with what is wanted; None where nothing is to be done."""
        if self.is_current or self._wanted is None:
            return None
        seconds = time.monotonic() - self._phase_since
        return WeightProgress(
            version=self._wanted.version, phase=self._phase, seconds=seconds, problem=self._problem[:MAX_PROBLEM]
        )

    @property
    def committed_digest(self) -> str:
        """Of the weights that the engine holds; empty without any of the run."""
        return self._committed.digest if self._committed is not None else ""

    @property
    def is_current(self) -> bool:
        """Whether the engine runs the wanted weights, under whatever number, as far as its memory goes."""
        wanted = self._wanted
        if wanted is None or self._memory is EngineMemory.ASLEEP:
            return True
        if self._memory is EngineMemory.WEIGHTS:
            return self.committed_digest == wanted.digest
        return self.certificate is not None and self.certificate.digest == wanted.digest

    async def _try_once(self) -> bool:
        """Try to update in a task of its own, which `stand_down` may end."""
        self._attempt = attempt = asyncio.create_task(self._try_update())
        try:
            await asyncio.wait({attempt})
        except asyncio.CancelledError:
            attempt.cancel()
            await asyncio.wait({attempt})
            raise
        return attempt.cancelled() or attempt.result()

    async def _try_update(self) -> bool:
        wanted, receiver = self._wanted, self._receiver
        if wanted is None or receiver is None:
            return False
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._update(wanted, receiver)
        except TimeoutError:
            self._note_failure(wanted, self._late(wanted, receiver))
            return False
        except (FetchError, WeightsError, EngineError, WireError) as error:
            self._note_failure(wanted, error)
            return False
        self._problem = ""
        self._num_misfits = 0
        return True

    def _note_failure(self, wanted: WantedWeights, error: Exception) -> None:
        self._observer.update_failed(failure_of(error))
        self._problem = f"{type(error).__name__}: {error}"
        self._enter(WeightPhase.WAITING)
        log.warning("weight_update_failed", version=wanted.version, error=self._problem)
        self._note_misfit(error)

    def _late(self, wanted: WantedWeights, receiver: WeightReceiver) -> SyncDeadlineError:
        """Say what took so long, and with whom."""
        is_fetching = self._phase is WeightPhase.STAGING
        at = f"{receiver.at} at {self._relay or self._broadcaster}{receiver.progress}"
        return SyncDeadlineError(
            version=wanted.version,
            limit_s=self._timeout_s,
            replica=self._name,
            phase=self._phase.value,
            seconds=time.monotonic() - self._phase_since,
            at=at if is_fetching else "waiting for its own engine",
        )

    def _note_misfit(self, error: Exception) -> None:
        """Raise ConfigFault after the last attempt with weights that are not of the engine's model."""
        self._num_misfits = self._num_misfits + 1 if isinstance(error, LayoutError) else 0
        if self._num_misfits == MAX_MISFITS:
            raise ConfigFault(
                f"the weights of run {self._run} are not of this engine's model, {MAX_MISFITS} times in a row: "
                f"{error}; learner and rollouts need one trainer.policy.model.path and one trainer.policy.model.lora"
            ) from error

    async def _update(self, wanted: WantedWeights, receiver: WeightReceiver) -> None:
        if self.committed_digest != wanted.digest:
            await self._stage_and_commit(wanted, receiver)
        if self._memory is EngineMemory.AWAKE:
            await self._prove()
        self._on_change()

    def _enter(self, phase: WeightPhase) -> None:
        self._phase, self._phase_since = phase, time.monotonic()

    async def _stage_and_commit(self, wanted: WantedWeights, receiver: WeightReceiver) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._enter(WeightPhase.STAGING)
        receiver.read_on(self._engine.gpu, self._engine.other_gpus)
        try:
            if lacking := self._engine.stage_shortage():
                manifest = await self._overwrite(wanted.version, receiver, lacking_bytes=lacking)
            else:
                manifest = await self._stage(wanted.version, receiver)
        finally:
            self._note(receiver)
        self._canary = receiver.canary
        staged = loop.time()
        # From here until the certificate the engine's word about its weights is open.
        self.certificate = self._committed = None
        self._enter(WeightPhase.COMMITTING)
        with self._clock.paused():
            self._committed = await commit_weights(self._engine, version=wanted.version, digest=manifest.digest)
        self._parts = {UpdatePart.STAGE: staged - began, UpdatePart.COMMIT: loop.time() - staged}

    async def _stage(self, version: PolicyVersion, receiver: WeightReceiver) -> Manifest:
        """Bring a version beside the live weights, while the engine serves."""

        def stage(manifest: Manifest) -> npt.NDArray[np.uint8]:
            return self._engine.begin_stage(manifest, version=version)

        is_staged = False

        async def stage_from_device(manifest: Manifest, device: DeviceHandle, others: Sequence[DeviceHandle]) -> None:
            nonlocal is_staged
            await self._engine.stage_from_device(device, manifest, version=version, others=others)
            is_staged = True

        manifest = await receiver.fetch(version, stage, stage_from_device)
        if not is_staged:
            # The receiver has digested every tensor while it copied.
            await self._engine.verify_stage(digest=manifest.digest, found=manifest.digest)
        return manifest

    async def _overwrite(self, version: PolicyVersion, receiver: WeightReceiver, *, lacking_bytes: int) -> Manifest:
        """Bring a version in the place of the live weights: there is no room beside them."""
        log.warning("stage_without_room", version=version, lacking_bytes=lacking_bytes, instead="in place, paused")
        fetch = partial(receiver.fetch, version, is_in_place=True)
        with self._clock.paused():
            return await overwrite_weights(self._engine, fetch, version=version, on_begin=self._uncertify)

    def _uncertify(self) -> None:
        self.certificate = self._committed = None
        self._on_change()

    def _note(self, receiver: WeightReceiver) -> None:
        found = receiver.statistics()
        self.links.num_groups_broken = found.num_groups_broken
        if found.group_bytes_per_s:
            self.links.bytes_per_s[WeightTransport.NCCL] = found.group_bytes_per_s

    async def _prove(self) -> None:
        """Probe what is committed, and certify it; what fails is staged again."""
        report, self._committed = self._committed, None
        assert report is not None
        began = asyncio.get_running_loop().time()
        self._enter(WeightPhase.PROVING)
        with self._clock.paused():
            await prove_weights(self._engine, self._canary)
        self._parts[UpdatePart.PROVE] = asyncio.get_running_loop().time() - began
        self._committed = report
        self.certificate = Certificate(
            run=self._run,
            incarnation=self._incarnation,
            version=report.version,
            digest=report.digest,
            cache_policy=CachePolicy(report.cache_policy.value),
            is_probe_ok=True,
        )
        self._observer.updated(self._parts)

    def _connect(self, endpoint: str, key: PublicKey) -> None:
        self._broadcaster = endpoint
        self._changed.set()
        connection = self._transport.connect(endpoint, name=self._name, server_key=key)
        former, self._connection = self._connection, connection
        if former is not None:
            former.close()
        if self._receiver is None:
            self._receiver = WeightReceiver(
                connection,
                incarnation=self._incarnation,
                replica=self._name,
                timeout_s=self._timeout_s,
                transports=self._transports,
                gpu=self._engine.gpu,
                nccl=self._nccl,
            )
        else:
            self._receiver.use(connection)


def layout_digest(buffer: npt.NDArray[np.uint8], layout: WeightLayout) -> str:
    """Digest of a flat buffer as a manifest states it, so that an engine's word and the learner's compare."""
    tensors = tuple(
        TensorSpec(name=t.name, dtype=t.dtype, shape=tuple(t.shape), offset=t.offset, num_bytes=t.num_bytes)
        for t in layout.tensors
    )
    flat = Layout(tensors=tensors, num_bytes=layout.num_bytes)
    return build(flat, buffer, algorithm=DigestAlgorithm.XXH3_128).digest
