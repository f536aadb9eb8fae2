"""An engine that is built only when it may hold memory; until then it sleeps."""

from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import numpy.typing as npt

from tetrad_rollout.engine.errors import EngineAsleepError
from tetrad_rollout.engine.protocol import (
    ALL_TAGS,
    CommitReport,
    Engine,
    EngineStatistics,
    GeneratedSample,
    GenerationRequest,
    MemoryTag,
    PauseMode,
    ProbeReport,
    ProgressCallback,
    RequestId,
    WeightLayout,
)
from tetrad_rollout.engine.weight_state import WeightStatus
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.membership import MemoryFigures
from tetrad_wire.messages.weights import Canary, DeviceHandle, Manifest

Build = Callable[[], Awaitable[Engine]]


class LateEngine:
    """Implements `Engine` by the one that it builds when it is told to."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self.built: Engine | None = None

    async def build(self) -> Engine:
        """Build it, once: from here on it holds all its memory."""
        if self.built is None:
            self.built = await self._build()
        return self.built

    async def generate(
        self, request: GenerationRequest, on_progress: ProgressCallback | None = None
    ) -> list[GeneratedSample]:
        """See `Engine.generate`."""
        return await self._there().generate(request, on_progress)

    async def abort(self, request_id: RequestId) -> bool:
        """See `Engine.abort`."""
        return await self._there().abort(request_id)

    async def pause(self, mode: PauseMode = PauseMode.IN_PLACE) -> None:
        """See `Engine.pause`."""
        await self._there().pause(mode)

    async def resume(self) -> None:
        """See `Engine.resume`."""
        await self._there().resume()

    def begin_stage(self, layout: WeightLayout, *, version: PolicyVersion) -> npt.NDArray[np.uint8]:
        """See `Engine.begin_stage`."""
        return self._there().begin_stage(layout, version=version)

    def stage_shortage(self) -> int:
        """See `Engine.stage_shortage`."""
        return self._there().stage_shortage()

    def begin_in_place(self, layout: WeightLayout, *, version: PolicyVersion) -> npt.NDArray[np.uint8]:
        """See `Engine.begin_in_place`."""
        return self._there().begin_in_place(layout, version=version)

    async def verify_stage(self, *, digest: str, found: str | None = None) -> None:
        """See `Engine.verify_stage`."""
        await self._there().verify_stage(digest=digest, found=found)

    @property
    def gpu(self) -> str:
        """See `Engine.gpu`; empty until the engine is built: to look would take memory."""
        return "" if self.built is None else self.built.gpu

    @property
    def other_gpus(self) -> tuple[str, ...]:
        """See `Engine.other_gpus`; empty until the engine is built, likewise."""
        return () if self.built is None else self.built.other_gpus

    async def stage_from_device(
        self, handle: DeviceHandle, manifest: Manifest, *, version: PolicyVersion, others: Sequence[DeviceHandle] = ()
    ) -> None:
        """See `Engine.stage_from_device`."""
        await self._there().stage_from_device(handle, manifest, version=version, others=others)

    async def commit(self, *, version: PolicyVersion, digest: str) -> CommitReport:
        """See `Engine.commit`."""
        return await self._there().commit(version=version, digest=digest)

    async def probe(self, canary: Canary | None = None) -> ProbeReport:
        """See `Engine.probe`."""
        return await self._there().probe(canary)

    async def weights_digest(self) -> str:
        """See `Engine.weights_digest`."""
        return await self._there().weights_digest()

    async def sleep(self, tags: frozenset[MemoryTag] = ALL_TAGS) -> None:
        """See `Engine.sleep`."""
        await self._there().sleep(tags)

    async def wake(self, tags: frozenset[MemoryTag] = ALL_TAGS) -> None:
        """See `Engine.wake`."""
        await self._there().wake(tags)

    def memory(self) -> MemoryFigures:
        """See `Engine.memory`."""
        return self._there().memory()

    def needed_to_wake(self, tags: frozenset[MemoryTag]) -> int:
        """See `Engine.needed_to_wake`."""
        return self._there().needed_to_wake(tags)

    def statistics(self) -> EngineStatistics:
        """See `Engine.statistics`."""
        return NOT_BUILT if self.built is None else self.built.statistics()

    def exported_metrics(self) -> bytes:
        """See `Engine.exported_metrics`."""
        return b"" if self.built is None else self.built.exported_metrics()

    async def close(self, *, timeout_s: float = 10.0) -> None:
        """See `Engine.close`."""
        if self.built is not None:
            await self.built.close(timeout_s=timeout_s)

    def _there(self) -> Engine:
        if self.built is None:
            raise EngineAsleepError("the engine is not built yet: the learner has the GPU")
        return self.built


NOT_BUILT = EngineStatistics(
    waiting_samples=0,
    running_samples=0,
    peak_running_samples=0,
    requests_finished=0,
    requests_failed=0,
    requests_aborted=0,
    prompt_tokens=0,
    generated_tokens=0,
    forward_passes=0,
    forward_s=0.0,
    step_age_s=0.0,
    is_alive=True,
    is_paused=False,
    is_asleep=True,
    last_failure="",
    weights=WeightStatus(),
)
