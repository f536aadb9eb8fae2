"""The engine without threads: admits requests into one running batch and moves it token by token.

Owns the waiting queue, the rows and the weight status; drives a `Runner`. Everything happens between two
forwards, on whichever thread calls; `ThreadedEngine` gives it one. Must not know asyncio, torch or sockets.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from tetrad_rollout.engine.admission import check_queue, check_request
from tetrad_rollout.engine.errors import EngineAsleepError, EngineError, ForwardFailedError
from tetrad_rollout.engine.protocol import FinishReason, GenerationRequest, RequestId
from tetrad_rollout.engine.rows import Chunk, Job, Row, chunks_of
from tetrad_rollout.engine.runner import Runner
from tetrad_rollout.engine.sampling import TokenSampler
from tetrad_rollout.engine.stops import Decode, StopRule
from tetrad_rollout.engine.weight_state import UNVERSIONED
from tetrad_telemetry.logs import get_logger
from tetrad_wire.ids import PolicyVersion

log = get_logger(__name__)

# Padded prompt tokens of one prefill: bounds its activations (about 100 MB for a 135M-parameter model).
_MAX_PREFILL_TOKENS: Final = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """How requests share forwards."""

    max_num_seqs: int = 256
    """Rows per forward; the rest waits."""
    max_waiting_samples: int = 4096
    """Beyond this, requests are refused (EngineBusyError)."""
    batch_window_s: float = 0.002
    """An idle engine waits this long for more requests after the first."""
    is_deterministic: bool = False
    """One group per batch, in a fixed shape: the result does not depend on what else is queued."""


@dataclass(slots=True)
class Counters:
    """What the core has done since it was made."""

    requests_finished: int = 0
    requests_failed: int = 0
    requests_aborted: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    forward_passes: int = 0
    forward_s: float = 0.0
    peak_running_samples: int = 0
    last_failure: str = ""
    last_step_at: float = 0.0


@dataclass(slots=True)
class Outcome:
    """What one call of the core changed."""

    advanced: list[Job] = field(default_factory=list)
    """Sampled tokens or ended samples; those that are done included."""
    failed: list[tuple[Job, EngineError]] = field(default_factory=list)


class EngineCore:
    """One running batch and the queue before it."""

    def __init__(
        self,
        runner: Runner,
        *,
        settings: BatchSettings,
        decode: Decode | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner = runner
        self._settings = settings
        self._decode = decode
        self._clock = clock
        self._waiting: deque[Chunk] = deque()
        self._jobs: dict[RequestId, Job] = {}
        self._rows: list[Row] = []
        self._sampler = TokenSampler(seeds=(), positions=(), sampling=())
        self.waiting_samples = 0
        self.counters = Counters()
        self.is_asleep = False
        self.version = UNVERSIONED
        """Of the weights that the runner is bound to; set by the owner of the weights."""

    @property
    def running_samples(self) -> int:
        """Rows of the batch, in deterministic mode those that have ended and wait for their group too."""
        return len(self._rows)

    @property
    def is_idle(self) -> bool:
        """No request is in flight."""
        return not self._jobs

    @property
    def has_free_rows(self) -> bool:
        """Whether more waiting requests could join the next forward."""
        return len(self._rows) + self.waiting_samples < self._settings.max_num_seqs

    def submit(self, request: GenerationRequest) -> Job:
        """Queue a request.

        Raises:
            InvalidRequestError, EngineBusyError, EngineAsleepError: and the request is not queued.
        """
        self._check(request)
        rule = StopRule(request.sampling, eos_token_ids=self._runner.eos_token_ids, decode=self._decode)
        job = Job(request=request, stop_rule=rule, samples=[None] * len(request.seeds))
        self._jobs[request.request_id] = job
        self._waiting.extend(chunks_of(job, max_rows=self._settings.max_num_seqs))
        self.waiting_samples += len(request.seeds)
        return job

    def _check(self, request: GenerationRequest) -> None:
        if self.is_asleep:
            raise EngineAsleepError("the engine is asleep; call wake() first")
        check_request(
            request, in_flight=self._jobs, max_context=self._runner.max_context, vocab_size=self._runner.vocab_size
        )
        check_queue(request, waiting=self.waiting_samples, limit=self._settings.max_waiting_samples)

    def step(self) -> Outcome:
        """Let waiting requests in, or else move every running row one token on."""
        started = self._clock()
        outcome = Outcome()
        if chunks := self._admissible():
            self._prefill(chunks, outcome)
        elif self._rows:
            self._decode_one(outcome)
        self.counters.last_step_at = self._clock()
        self.counters.forward_s += self.counters.last_step_at - started
        return outcome

    def abort(self, request_id: RequestId) -> Outcome:
        """End a request with what it has; an empty outcome when it is not in flight."""
        outcome = Outcome()
        if (job := self._jobs.get(request_id)) is not None:
            self._abort_job(job, outcome)
        return outcome

    def abort_all(self) -> Outcome:
        """End every request with what it has."""
        outcome = Outcome()
        for job in list(self._jobs.values()):
            self._abort_job(job, outcome)
        return outcome

    def sampled(self, job: Job) -> list[Sequence[int]]:
        """Token ids of each sample of a request so far, in the order of its seeds."""
        ids: list[Sequence[int]] = [() if one is None else one.token_ids.tolist() for one in job.samples]
        for row in self._rows:
            if row.job is job and not row.is_finished:
                ids[row.index] = row.tokens
        return ids

    def switch_version(self, version: PolicyVersion) -> int:
        """The next tokens are of `version`; how many rows had tokens of the one before, and were cut."""
        cut = sum(row.cut_span(self.version) for row in self._rows if not row.is_finished)
        self.version = version
        return cut

    # -- admission ---------------------------------------------------------------------------------------------

    def _admissible(self) -> list[Chunk]:
        """Take the longest head of the queue that fits, in order of arrival."""
        if self._settings.is_deterministic:
            return [self._pop()] if self._waiting and not self._rows else []
        chunks: list[Chunk] = []
        room, longest = self._settings.max_num_seqs - len(self._rows), 0
        while self._waiting and len(self._waiting[0].indices) <= room:
            longest = max(longest, self._waiting[0].job.request.prompt_ids.size)
            if chunks and longest * (len(chunks) + 1) > _MAX_PREFILL_TOKENS:
                break
            chunks.append(self._pop())
            room -= len(chunks[-1].indices)
        return chunks

    def _pop(self) -> Chunk:
        chunk = self._waiting.popleft()
        self.waiting_samples -= len(chunk.indices)
        return chunk

    # -- forwards ----------------------------------------------------------------------------------------------

    def _prefill(self, chunks: Sequence[Chunk], outcome: Outcome) -> None:
        prompts = [chunk.job.request.prompt_ids for chunk in chunks]
        repeats = [len(chunk.indices) for chunk in chunks]
        new_rows = [Row(chunk.job, index) for chunk in chunks for index in chunk.indices]
        before = len(self._rows)
        try:
            logits_RV = self._runner.prefill(prompts, repeats=repeats)
        except Exception as error:  # the model is foreign code; only this batch may suffer
            # What of the new rows is in the cache is unknown: keep the old ones only.
            self._runner.keep(np.arange(before))
            self._fail({id(chunk.job): chunk.job for chunk in chunks}, error, outcome)
            self._compact()
            return
        self.counters.forward_passes += 1
        self.counters.prompt_tokens += sum(prompt.size for prompt in prompts)
        self._rows += new_rows
        self.counters.peak_running_samples = max(self.counters.peak_running_samples, len(self._rows))
        self._take(new_rows, _sampler_of(new_rows), logits_RV, outcome)
        self._compact()

    def _decode_one(self, outcome: Outcome) -> None:
        last = np.array([row.tokens[-1] for row in self._rows], np.int64)
        try:
            logits_RV = self._runner.decode(last)
        except Exception as error:  # as above
            self._fail({id(row.job): row.job for row in self._rows}, error, outcome)
            self._compact()
            return
        self.counters.forward_passes += 1
        self._take(self._rows, self._sampler, logits_RV, outcome)
        if any(row.is_finished for row in self._rows):
            self._compact()

    def _take(
        self, rows: Sequence[Row], sampler: TokenSampler, logits_RV: npt.NDArray[np.float32], outcome: Outcome
    ) -> None:
        """Sample for `rows` and end those that are complete."""
        tokens_R, logprobs_R = sampler.sample(logits_RV)
        touched = {id(row.job): row.job for row in rows if not row.is_finished}
        if not np.isfinite(logprobs_R).all():
            sick = {id(rows[i].job): rows[i].job for i in np.flatnonzero(~np.isfinite(logprobs_R)).tolist()}
            self._fail(sick, ForwardFailedError("the model gave logits that are not finite"), outcome)
            touched = {key: job for key, job in touched.items() if key not in sick}
        for row, token, logprob in zip(rows, tokens_R.tolist(), logprobs_R.tolist(), strict=True):
            if row.is_finished:
                continue
            self.counters.generated_tokens += 1
            if (reason := row.append(token, logprob)) is not None:
                self._end(row, reason)
        outcome.advanced += touched.values()

    def _end(self, row: Row, reason: FinishReason) -> None:
        row.is_finished = True
        job = row.job
        job.end(row.index, row.sample(reason, self.version))
        if job.is_done:
            self.counters.requests_finished += 1
            del self._jobs[job.request.request_id]

    # -- leaving the batch -------------------------------------------------------------------------------------

    def _compact(self) -> None:
        """Drop finished rows; in deterministic mode only all at once, because the shape is fixed."""
        num_left = sum(not row.is_finished for row in self._rows)
        if num_left == 0:
            self._rows = []
            self._runner.clear()
        elif num_left < len(self._rows) and not self._settings.is_deterministic:
            order = _fill_gaps([row.is_finished for row in self._rows])
            self._runner.keep(order)
            self._rows = [self._rows[i] for i in order]
        self._sampler = _sampler_of(self._rows)

    def _fail(self, jobs: dict[int, Job], error: Exception, outcome: Outcome) -> None:
        self.counters.last_failure = f"{type(error).__name__}: {error}"
        log.error("forward_failed", error=self.counters.last_failure, requests=len(jobs))
        self.counters.requests_failed += len(jobs)
        for job in jobs.values():
            wrapped = ForwardFailedError(f"request {job.request.request_id}: {self.counters.last_failure}")
            wrapped.__cause__ = error
            outcome.failed.append((job, wrapped))
            self._forget(job)

    def _forget(self, job: Job) -> None:
        """Take all of a job's rows and chunks out; its rows leave at the next compaction."""
        self._jobs.pop(job.request.request_id, None)
        self._waiting = deque(chunk for chunk in self._waiting if chunk.job is not job)
        self.waiting_samples = sum(len(chunk.indices) for chunk in self._waiting)
        for row in self._rows:
            if row.job is job:
                row.is_finished = True

    def _abort_job(self, job: Job, outcome: Outcome) -> None:
        for row in self._rows:
            if row.job is job and not row.is_finished:
                job.end(row.index, row.sample(FinishReason.ABORTED, self.version))
        for index, sample in enumerate(job.samples):
            if sample is None:
                job.end(index, Row(job, index).sample(FinishReason.ABORTED, self.version))
        self._forget(job)
        self._compact()
        self.counters.requests_aborted += 1
        outcome.advanced.append(job)


def _sampler_of(rows: Sequence[Row]) -> TokenSampler:
    return TokenSampler(
        seeds=[row.job.request.seeds[row.index] for row in rows],
        positions=[len(row.tokens) for row in rows],
        sampling=[row.job.request.sampling for row in rows],
    )


def _fill_gaps(is_gone: Sequence[bool]) -> npt.NDArray[np.int64]:
    """An order of the rows that stay which moves as few as possible: the last ones fill the gaps.

    >>> _fill_gaps([False, True, False, False]).tolist()
    [0, 3, 2]
    """
    num_left = len(is_gone) - sum(is_gone)
    order = np.arange(num_left)
    tail = [i for i in range(num_left, len(is_gone)) if not is_gone[i]]
    gaps = [i for i in range(num_left) if is_gone[i]]
    order[gaps] = tail[::-1]
    return order
