"""An engine on a thread of its own: the async face of `EngineCore`.

Owns the thread, the mailbox into it and the futures out of it. A command runs at a token boundary, because the
thread looks into its mailbox between two forwards only. The event loop never waits for a forward.
"""

import asyncio
import concurrent.futures
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from tetrad_rollout.engine.core import BatchSettings, EngineCore, Outcome
from tetrad_rollout.engine.errors import EngineBusyError, EngineClosedError, EngineError, WeightStateError
from tetrad_rollout.engine.flat_weights import DigestFunction, manifest_digest
from tetrad_rollout.engine.live_weights import LiveWeights, commit_report
from tetrad_rollout.engine.protocol import (
    ALL_TAGS,
    CommitReport,
    EngineStatistics,
    GeneratedSample,
    GenerationRequest,
    MemoryTag,
    PauseMode,
    ProbeReport,
    Progress,
    ProgressCallback,
    RequestId,
    WeightLayout,
)
from tetrad_rollout.engine.rows import Job
from tetrad_rollout.engine.runner import Runner
from tetrad_rollout.engine.stops import Decode
from tetrad_runtime.host_memory import host_memory
from tetrad_telemetry.logs import get_logger
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.membership import MemoryFigures
from tetrad_wire.messages.weights import Canary, DeviceHandle, Manifest

log = get_logger(__name__)
T = TypeVar("T")

# A sleeping thread looks up this often even if nobody calls; only a safety net, every command wakes it.
_IDLE_WAIT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who waits for a request."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[GeneratedSample]]
    on_progress: ProgressCallback | None


class ThreadedEngine:
    """Implements `Engine` on top of a `Runner`."""

    def __init__(
        self,
        runner: Runner,
        *,
        name: str,
        settings: BatchSettings,
        decode: Decode | None = None,
        digest: DigestFunction = manifest_digest,
        free_bytes: Callable[[], int] = lambda: host_memory().free,
    ) -> None:
        self._runner = runner
        self._settings = settings
        self._core = EngineCore(runner, settings=settings, decode=decode)
        self._weights = LiveWeights(runner, digest=digest, free_bytes=free_bytes)
        self._callers: dict[RequestId, _Caller] = {}
        self._mailbox: deque[Callable[[], None]] = deque()
        self._wakeup = threading.Condition()
        self._released: frozenset[MemoryTag] = frozenset()
        self._is_paused = False
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name=f"{name}-engine", daemon=True)
        self._thread.start()

    # -- the event loop's side ---------------------------------------------------------------------------------

    async def generate(
        self, request: GenerationRequest, on_progress: ProgressCallback | None = None
    ) -> list[GeneratedSample]:
        """See `Engine.generate`."""
        loop = asyncio.get_running_loop()
        caller = _Caller(loop, loop.create_future(), on_progress)
        self._post(lambda: self._accept(request, caller))
        try:
            return await caller.future
        except asyncio.CancelledError:
            self._post(lambda: self._forsake(request.request_id, caller), is_best_effort=True)
            raise

    async def abort(self, request_id: RequestId) -> bool:
        """See `Engine.abort`."""
        return await self._call(lambda: bool(self._deliver(self._core.abort(request_id))))

    async def pause(self, mode: PauseMode = PauseMode.IN_PLACE) -> None:
        """See `Engine.pause`."""
        await self._call(lambda: self._pause(mode))

    async def resume(self) -> None:
        """See `Engine.resume`."""
        await self._call(self._resume)

    def begin_stage(self, layout: WeightLayout, *, version: PolicyVersion) -> npt.NDArray[np.uint8]:
        """See `Engine.begin_stage`."""
        return self._weights.begin(layout, version)

    def stage_shortage(self) -> int:
        """See `Engine.stage_shortage`."""
        return self._weights.stage_shortage()

    def begin_in_place(self, layout: WeightLayout, *, version: PolicyVersion) -> npt.NDArray[np.uint8]:
        """See `Engine.begin_in_place`."""
        if not self._is_paused:
            raise WeightStateError("forwards read the live weights; call pause() before begin_in_place()")
        return self._weights.begin_in_place(layout, version)

    async def verify_stage(self, *, digest: str, found: str | None = None) -> None:
        """See `Engine.verify_stage`."""
        ticket = self._weights.seal()
        actual = await asyncio.to_thread(self._weights.staged_digest) if found is None else found
        await self._call(
            lambda: self._weights.verified(ticket, digest=actual, expected=digest, is_paused=self._is_paused)
        )

    @property
    def gpu(self) -> str:
        """See `Engine.gpu`: this engine's stage is host memory."""
        return ""

    @property
    def other_gpus(self) -> tuple[str, ...]:
        """See `Engine.other_gpus`: there are none."""
        return ()

    async def stage_from_device(
        self, handle: DeviceHandle, manifest: Manifest, *, version: PolicyVersion, others: Sequence[DeviceHandle] = ()
    ) -> None:
        """See `Engine.stage_from_device`; always refused."""
        gpus = ", ".join(device.gpu for device in (handle, *others))
        raise WeightStateError(
            f"version {version} ({manifest.digest}) lies in memory of GPU {gpus}; this engine reads host memory"
        )

    async def commit(self, *, version: PolicyVersion, digest: str) -> CommitReport:
        """See `Engine.commit`."""
        return await self._call(lambda: self._commit(version, digest))

    async def probe(self, canary: Canary | None = None) -> ProbeReport:
        """See `Engine.probe`."""
        return await self._call(lambda: self._weights.probe(canary))

    async def weights_digest(self) -> str:
        """See `Engine.weights_digest`."""
        return await self._call(self._weights.live_digest)

    async def sleep(self, tags: frozenset[MemoryTag] = ALL_TAGS) -> None:
        """See `Engine.sleep`. On a CPU the live weights stay; WEIGHTS releases the stage buffer."""
        await self._call(lambda: self._sleep(tags))

    async def wake(self, tags: frozenset[MemoryTag] = ALL_TAGS) -> None:
        """See `Engine.wake`."""
        await self._call(lambda: self._wake(tags))

    def memory(self) -> MemoryFigures:
        """See `Engine.memory`."""
        memory = host_memory()
        return MemoryFigures(used=memory.resident, free=memory.free, total=memory.total)

    def needed_to_wake(self, tags: frozenset[MemoryTag]) -> int:  # noqa: ARG002 - it is the same for all
        """See `Engine.needed_to_wake`."""
        return 0

    async def close(self, *, timeout_s: float = 10.0) -> None:
        """See `Engine.close`."""
        with self._wakeup:
            self._is_closing = True
            self._wakeup.notify()
        await asyncio.to_thread(self._thread.join, timeout_s)
        if self._thread.is_alive():
            raise TimeoutError(f"the engine thread is still in a forward after {timeout_s} s")

    def statistics(self) -> EngineStatistics:
        """See `Engine.statistics`."""
        counters, running = self._core.counters, self._core.running_samples
        is_stepping = running > 0 and not self._is_paused and counters.last_step_at > 0.0
        return EngineStatistics(
            waiting_samples=self._core.waiting_samples,
            running_samples=running,
            peak_running_samples=counters.peak_running_samples,
            requests_finished=counters.requests_finished,
            requests_failed=counters.requests_failed,
            requests_aborted=counters.requests_aborted,
            prompt_tokens=counters.prompt_tokens,
            generated_tokens=counters.generated_tokens,
            forward_passes=counters.forward_passes,
            forward_s=counters.forward_s,
            step_age_s=time.monotonic() - counters.last_step_at if is_stepping else 0.0,
            is_alive=self._thread.is_alive() and not self._is_closing,
            is_paused=self._is_paused,
            is_asleep=self._core.is_asleep,
            last_failure=counters.last_failure,
            weights=self._weights.status,
        )

    def exported_metrics(self) -> bytes:
        """See `Engine.exported_metrics`: what it counts is in its statistics."""
        return b""

    async def _call(self, command: Callable[[], T]) -> T:
        """Run `command` on the engine thread at the next token boundary."""
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(command())
            except Exception as error:  # handed to the caller, whose error it is
                done.set_exception(error)

        self._post(run)
        return await asyncio.wrap_future(done)

    def _post(self, command: Callable[[], None], *, is_best_effort: bool = False) -> None:
        with self._wakeup:
            if self._is_closing and not is_best_effort:
                raise EngineClosedError("the engine is closed")
            self._mailbox.append(command)
            self._wakeup.notify()

    # -- the engine thread's side ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._runner.start()
            while self._receive():
                if not self._is_paused:
                    self._deliver(self._core.step())
        except BaseException as error:  # a bug of ours; whoever waits must hear of it
            log.exception("engine_died")
            self._end(f"the engine thread died: {type(error).__name__}: {error}")
        else:
            self._end("the engine is closed")

    def _receive(self) -> bool:
        """Run what is in the mailbox, waiting for it when there is nothing else to do; False at the end."""
        was_idle = self._core.is_idle
        self._drain(wait_s=_IDLE_WAIT_S if self._is_paused or was_idle else 0.0)
        if was_idle and not self._core.is_idle and not self._settings.is_deterministic:
            self._gather()
        return not self._is_closing

    def _gather(self) -> None:
        """Give requests that were sent together a moment to arrive together."""
        deadline = time.monotonic() + self._settings.batch_window_s
        while self._core.has_free_rows and (left := deadline - time.monotonic()) > 0 and not self._is_closing:
            self._drain(wait_s=left)

    def _drain(self, *, wait_s: float) -> None:
        with self._wakeup:
            if not self._mailbox and not self._is_closing and wait_s > 0.0:
                self._wakeup.wait(wait_s)
            commands = list(self._mailbox)
            self._mailbox.clear()
        for command in commands:
            command()

    def _accept(self, request: GenerationRequest, caller: _Caller) -> None:
        if caller.future.cancelled():
            return
        try:
            self._core.submit(request)
        except EngineError as error:
            _call_all(caller.loop, [_failure(caller, error)])
            return
        self._callers[request.request_id] = caller

    def _forsake(self, request_id: RequestId, caller: _Caller) -> None:
        """Abort a request that nobody waits for any more."""
        if self._callers.get(request_id) is caller:
            del self._callers[request_id]
            self._core.abort(request_id)

    def _deliver(self, outcome: Outcome) -> int:
        """Tell the callers what a step brought, in one wake-up per event loop; the number of requests told of."""
        messages: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}
        for job, error in outcome.failed:
            if (caller := self._callers.pop(job.request.request_id, None)) is not None:
                messages.setdefault(caller.loop, []).append(_failure(caller, error))
        for job in outcome.advanced:
            if (caller := self._callers.get(job.request.request_id)) is None:
                continue
            if caller.on_progress is not None:
                messages.setdefault(caller.loop, []).append(_report(caller.on_progress, job))
            if job.is_done:
                del self._callers[job.request.request_id]
                messages.setdefault(caller.loop, []).append(_result(caller, job))
        for loop, calls in messages.items():
            _call_all(loop, calls)
        return len(outcome.failed) + len(outcome.advanced)

    def _pause(self, mode: PauseMode) -> None:
        self._is_paused = True
        if mode is PauseMode.ABORT:
            self._deliver(self._core.abort_all())
        self._weights.pause()

    def _resume(self) -> None:
        self._weights.resume()
        self._is_paused = False

    def _commit(self, version: PolicyVersion, digest: str) -> CommitReport:
        started = time.perf_counter()
        self._weights.commit(version=version, digest=digest)
        # The tokens so far came from the weights before, whose version the core still has.
        spans_cut = self._core.switch_version(version)
        is_idle = self._core.running_samples == 0
        report = commit_report(self._weights.status, is_idle=is_idle, spans_cut=spans_cut, started=started)
        log.info("weights_committed", version=version, cache_policy=report.cache_policy, spans_cut=spans_cut)
        return report

    def _sleep(self, tags: frozenset[MemoryTag]) -> None:
        if not self._core.is_idle:
            num = self._core.running_samples + self._core.waiting_samples
            raise EngineBusyError(f"{num} samples are in flight; sleep needs an idle engine: abort or drain first")
        if MemoryTag.WEIGHTS in tags - self._released:
            self._weights.release_stage()
        if MemoryTag.KV_CACHE in tags - self._released:
            self._runner.clear()
        self._released |= tags
        self._core.is_asleep = bool(self._released)

    def _wake(self, tags: frozenset[MemoryTag]) -> None:
        if self._released & tags:
            self._weights.wake()
        self._released -= tags
        self._core.is_asleep = bool(self._released)

    def _end(self, reason: str) -> None:
        """Nobody may be left waiting: refuse what is in the mailbox, fail what is in flight."""
        with self._wakeup:
            self._is_closing = True
            commands = list(self._mailbox)
            self._mailbox.clear()
        self._is_paused = True
        try:
            for command in commands:
                command()
        finally:
            for caller in self._callers.values():
                _call_all(caller.loop, [_failure(caller, EngineClosedError(reason))])
            self._callers.clear()


def _call_all(loop: asyncio.AbstractEventLoop, calls: list[Callable[[], None]]) -> None:
    def run() -> None:
        # One by one through the loop: a progress callback that raises must not cost another caller its answer.
        for call in calls:
            loop.call_soon(call)

    try:
        loop.call_soon_threadsafe(run)
    except RuntimeError:  # the loop is closed: nobody is left to be told
        log.warning("engine_caller_gone", messages=len(calls))


def _failure(caller: _Caller, error: EngineError) -> Callable[[], None]:
    def fail() -> None:
        if not caller.future.done():
            caller.future.set_exception(error)

    return fail


def _result(caller: _Caller, job: Job) -> Callable[[], None]:
    samples = [sample for sample in job.samples if sample is not None]

    def finish() -> None:
        if not caller.future.done():
            caller.future.set_result(samples)

    return finish


def _report(on_progress: ProgressCallback, job: Job) -> Callable[[], None]:
    finished, job.unreported = tuple(job.unreported), []
    progress = Progress(request_id=job.request.request_id, num_tokens=job.num_tokens, finished=finished)
    return lambda: on_progress(progress)
