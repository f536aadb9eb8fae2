"""The `Engine` protocol on top of SGLang: jobs and their samples, pauses, aborts, sleep.

Owns who waits, who is in the server and whether anybody may be. All on one event loop. Between a pause and a
resume the server holds no request: weights are replaced, caches flushed and memory released in an idle server.
A job is one request of ours, a course one sample of it, which is a request of the server's now and then.
"""

import asyncio
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tetrad_rollout.engine.admission import check_queue, check_request
from tetrad_rollout.engine.catalog import EngineSettings
from tetrad_rollout.engine.core import Counters
from tetrad_rollout.engine.errors import (
    EngineAsleepError,
    EngineBusyError,
    EngineClosedError,
    EngineError,
    ForwardFailedError,
)
from tetrad_rollout.engine.protocol import (
    ALL_TAGS,
    CommitReport,
    EngineStatistics,
    FinishReason,
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
from tetrad_rollout.engine.rows import Job, Row
from tetrad_rollout.engine.sglang.exported_metrics import exported_metrics
from tetrad_rollout.engine.sglang.memory import ServerMemory
from tetrad_rollout.engine.sglang.samples import Course
from tetrad_rollout.engine.sglang.server import Server
from tetrad_rollout.engine.sglang.weights import ServedWeights
from tetrad_rollout.engine.stops import Decode, StopRule
from tetrad_telemetry.logs import get_logger
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.membership import MemoryFigures
from tetrad_wire.messages.weights import Canary, DeviceHandle, Manifest

log = get_logger(__name__)

REPORT_EVERY: Final = 64
"""Tokens of a sample between two reports; each costs the service some 50 µs."""
SHARED_FROM: Final = 64
"""Tokens of a prompt from which computing it once is worth one forward's wait of the other samples."""
# A request that was on its way when its abort arrived does not hear of it: it is told again.
ABORT_AGAIN_S: Final = 0.05


@dataclass(eq=False, slots=True)
class _Caller:
    """Who waits for a job."""

    job: Job
    done: asyncio.Future[list[GeneratedSample]]
    on_progress: ProgressCallback | None
    courses: tuple[Course, ...]
    followers: list[Course]
    """Samples that wait for the first one's first token: then the keys and values of their prompt are there."""
    is_aborted: bool = False


class SglangEngine:
    """Implements `Engine` with an SGLang server of its own."""

    def __init__(
        self,
        server: Server,
        weights: ServedWeights,
        *,
        settings: EngineSettings,
        decode: Decode | None,
        report_every: int = REPORT_EVERY,
        held: Sequence[int] = (),
    ) -> None:
        self._server = server
        self._weights = weights
        self._memory = ServerMemory(server, may_sleep=settings.server.may_sleep, num_gpus=len(weights.gpus), held=held)
        self._settings = settings
        self._decode = decode
        self._report_every = report_every
        self._callers: dict[RequestId, _Caller] = {}
        self._waiting: deque[tuple[_Caller, Course]] = deque()
        self._playing: dict[Course, asyncio.Task[None]] = {}
        self._insisting: set[asyncio.Task[None]] = set()
        self._is_paused = False
        self._is_closed = False
        self._counters = Counters()

    # -- requests ----------------------------------------------------------------------------------------------

    async def generate(
        self, request: GenerationRequest, on_progress: ProgressCallback | None = None
    ) -> list[GeneratedSample]:
        """See `Engine.generate`."""
        self._check(request)
        rule = StopRule(request.sampling, eos_token_ids=self._server.eos_token_ids, decode=self._decode)
        job = Job(request=request, stop_rule=rule, samples=[None] * len(request.seeds))
        courses = tuple(Course(Row(job, index)) for index in range(len(request.seeds)))
        num_first = 1 if self._is_worth_sharing(request) else len(courses)
        done = asyncio.get_running_loop().create_future()
        caller = _Caller(job, done, on_progress, courses, followers=list(courses[num_first:]))
        self._callers[request.request_id] = caller
        self._waiting.extend((caller, course) for course in courses[:num_first])
        self._admit()
        try:
            return await caller.done
        finally:
            if caller.done.cancelled():
                self._end_early(caller)

    async def abort(self, request_id: RequestId) -> bool:
        """See `Engine.abort`."""
        caller = self._callers.get(request_id)
        if caller is None:
            return False
        self._end_early(caller)
        return True

    async def pause(self, mode: PauseMode = PauseMode.IN_PLACE) -> None:
        """See `Engine.pause`. In place: what is in the server is cut, and goes on from there after `resume`."""
        self._is_paused = True
        if mode is PauseMode.ABORT:
            for caller in list(self._callers.values()):
                self._end_early(caller)
        await self._insist(self._playing)
        self._weights.pause()

    async def resume(self) -> None:
        """See `Engine.resume`."""
        self._weights.resume()
        self._is_paused = False
        self._admit()

    # -- weights -----------------------------------------------------------------------------------------------

    def begin_stage(self, layout: WeightLayout, *, version: PolicyVersion) -> npt.NDArray[np.uint8]:
        """See `Engine.begin_stage`."""
        return self._weights.begin(layout, version)

    def stage_shortage(self) -> int:
        """See `Engine.stage_shortage`."""
        return self._weights.stage_shortage()

    def begin_in_place(self, layout: WeightLayout, *, version: PolicyVersion) -> npt.NDArray[np.uint8]:
        """See `Engine.begin_in_place`."""
        return self._weights.begin_in_place(layout, version)

    async def verify_stage(self, *, digest: str, found: str | None = None) -> None:
        """See `Engine.verify_stage`."""
        await self._weights.verify(digest, found, is_paused=self._is_paused)

    @property
    def gpu(self) -> str:
        """See `Engine.gpu`."""
        return next(iter(self._weights.gpus), "")

    @property
    def other_gpus(self) -> tuple[str, ...]:
        """See `Engine.other_gpus`."""
        return self._weights.gpus[1:]

    async def stage_from_device(
        self, handle: DeviceHandle, manifest: Manifest, *, version: PolicyVersion, others: Sequence[DeviceHandle] = ()
    ) -> None:
        """See `Engine.stage_from_device`."""
        await self._weights.stage_from_device((handle, *others), manifest, version)
        if self._is_paused:
            self._weights.pause()

    async def commit(self, *, version: PolicyVersion, digest: str) -> CommitReport:
        """See `Engine.commit`."""

        def cut(former: PolicyVersion) -> int:
            return sum(course.row.cut_span(former) for _caller, course in self._waiting)

        return await self._weights.commit(version=version, digest=digest, cut=cut)

    async def probe(self, canary: Canary | None = None) -> ProbeReport:
        """See `Engine.probe`."""
        return await self._weights.probe(canary)

    async def weights_digest(self) -> str:
        """See `Engine.weights_digest`."""
        return await self._weights.live_digest()

    # -- memory ------------------------------------------------------------------------------------------------

    async def sleep(self, tags: frozenset[MemoryTag] = ALL_TAGS) -> None:
        """See `Engine.sleep`."""
        if self._callers:
            num = len(self._playing) + self._num_waiting
            raise EngineBusyError(f"{num} samples are in flight; sleep needs an idle engine: abort or drain first")
        if MemoryTag.WEIGHTS in tags:
            self._weights.release_stage()
        await self._memory.release(tags)
        log.info("engine_asleep", released=sorted(self._memory.released))

    async def wake(self, tags: frozenset[MemoryTag] = ALL_TAGS) -> None:
        """See `Engine.wake`."""
        if await self._memory.take_back(tags):
            self._weights.wake()

    def memory(self) -> MemoryFigures:
        """See `Engine.memory`."""
        return self._memory.figures()

    def needed_to_wake(self, tags: frozenset[MemoryTag]) -> int:
        """See `Engine.needed_to_wake`."""
        return self._memory.needed(tags)

    # -- the rest ----------------------------------------------------------------------------------------------

    def statistics(self) -> EngineStatistics:
        """See `Engine.statistics`."""
        counters, running = self._counters, len(self._playing)
        is_stepping = running > 0 and not self._is_paused
        return EngineStatistics(
            waiting_samples=self._num_waiting,
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
            is_alive=not self._is_closed,
            is_paused=self._is_paused,
            is_asleep=bool(self._memory.released),
            last_failure=counters.last_failure,
            weights=self._weights.status,
        )

    def exported_metrics(self) -> bytes:
        """See `Engine.exported_metrics`."""
        return exported_metrics()

    async def close(self, *, timeout_s: float = 10.0) -> None:
        """See `Engine.close`."""
        self._is_closed = True
        for caller in self._callers.values():
            if not caller.done.done():
                caller.done.set_exception(EngineClosedError("the engine is closed"))
        self._callers.clear()
        self._waiting.clear()
        tasks = [*self._playing.values(), *self._insisting]
        for task in tasks:
            task.cancel()
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(self._server.close)

    @property
    def _num_waiting(self) -> int:
        return len(self._waiting) + sum(len(caller.followers) for caller in self._callers.values())

    def _check(self, request: GenerationRequest) -> None:
        if self._is_closed:
            raise EngineClosedError("the engine is closed")
        if self._memory.released:
            raise EngineAsleepError("the engine is asleep; call wake() before generate()")
        server, limit = self._server, self._settings.batch.max_waiting_samples
        check_request(request, in_flight=self._callers, max_context=server.max_context, vocab_size=server.vocab_size)
        check_queue(request, waiting=self._num_waiting, limit=limit)

    # -- samples -----------------------------------------------------------------------------------------------

    def _is_worth_sharing(self, request: GenerationRequest) -> bool:
        return self._settings.server.is_prefix_cached and request.prompt_ids.size >= SHARED_FROM

    def _let_follow(self, caller: _Caller) -> None:
        """The prompt is computed: the other samples of the job may come."""
        self._waiting.extend((caller, course) for course in caller.followers)
        caller.followers.clear()
        self._admit()

    def _admit(self) -> None:
        """Send the head of the queue to the server, as far as there is room."""
        room = self._settings.batch.max_num_seqs
        while self._waiting and len(self._playing) < room and not self._is_paused:
            caller, course = self._waiting.popleft()
            self._playing[course] = asyncio.create_task(self._play(caller, course))
        self._counters.peak_running_samples = max(self._counters.peak_running_samples, len(self._playing))

    async def _play(self, caller: _Caller, course: Course) -> None:
        """One sample's time in the server."""
        self._counters.last_step_at = self._counters.last_step_at or time.monotonic()
        try:
            reason = await course.play(
                self._server,
                version=self._weights.status.live_version,
                adapter=self._weights.adapter,
                interval=self._report_every,
                is_seeded=self._settings.batch.is_deterministic,
                on_tokens=lambda: self._heard(caller),
            )
        except EngineError as error:
            self._fail(caller, error)
        except Exception as error:  # SGLang is foreign code; only this job may suffer
            request_id = caller.job.request.request_id
            wrapped = ForwardFailedError(f"request {request_id}: {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            self._fail(caller, wrapped)
        else:
            self._take(caller, course, reason)
        finally:
            del self._playing[course]
            self._admit()

    def _take(self, caller: _Caller, course: Course, reason: FinishReason) -> None:
        """A request of the server's has ended."""
        limit = caller.job.request.sampling.max_new_tokens
        if reason is FinishReason.ABORTED and len(course.row.tokens) >= limit:
            reason = FinishReason.LENGTH  # the abort came with its last token
        if reason is FinishReason.ABORTED and not caller.is_aborted:
            self._waiting.appendleft((caller, course))  # cut by a pause
        else:
            self._end(caller, course, reason)

    def _heard(self, caller: _Caller) -> None:
        """One of a job's courses has sampled something."""
        now = time.monotonic()
        self._counters.forward_s += now - self._counters.last_step_at
        self._counters.last_step_at = now
        self._counters.forward_passes += 1
        if caller.followers:
            self._let_follow(caller)
        _report(caller)

    def _end(self, caller: _Caller, course: Course, reason: FinishReason) -> None:
        row, job = course.row, caller.job
        self._counters.generated_tokens += len(row.tokens)
        self._counters.prompt_tokens += course.prompt_tokens
        job.end(row.index, row.sample(reason, self._weights.status.live_version))
        _report(caller)
        if job.is_done and self._forget(caller):
            self._counters.requests_aborted += caller.is_aborted
            self._counters.requests_finished += not caller.is_aborted
            if not caller.done.done():
                caller.done.set_result([sample for sample in job.samples if sample is not None])

    def _fail(self, caller: _Caller, error: EngineError) -> None:
        """A sample cannot be had: neither can its job."""
        if not self._forget(caller):
            return
        self._counters.requests_failed += 1
        self._counters.last_failure = str(error)
        log.error("request_failed", request=caller.job.request.request_id, error=str(error))
        if not caller.done.done():
            caller.done.set_exception(error)
        self._end_early(caller)

    def _forget(self, caller: _Caller) -> bool:
        """Free a job's id; False where that is done already."""
        return self._callers.pop(caller.job.request.request_id, None) is caller

    def _end_early(self, caller: _Caller) -> None:
        """End a job's samples with what they have: those that wait at once, those in the server soon."""
        caller.is_aborted = True
        waiting = [course for waits, course in self._waiting if waits is caller] + caller.followers
        caller.followers = []
        self._waiting = deque(entry for entry in self._waiting if entry[0] is not caller)
        for course in waiting:
            self._end(caller, course, FinishReason.ABORTED)
        task = asyncio.create_task(self._insist([course for course in caller.courses if course in self._playing]))
        self._insisting.add(task)
        task.add_done_callback(self._insisting.discard)

    async def _insist(self, courses: Collection[Course]) -> None:
        """Abort in the server until none of `courses` is there."""
        while playing := {self._playing[course]: course for course in courses if course in self._playing}:
            for course in playing.values():
                self._server.abort(course.rid)
            await asyncio.wait(playing, timeout=ABORT_AGAIN_S)


def _report(caller: _Caller) -> None:
    if caller.on_progress is None or caller.done.done():
        return
    job = caller.job
    finished, job.unreported = tuple(job.unreported), []
    caller.on_progress(Progress(request_id=job.request.request_id, num_tokens=job.num_tokens, finished=finished))
