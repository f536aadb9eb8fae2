"""The core's book-keeping: a job is one request, a row one sample of it while it is in the batch."""

from dataclasses import dataclass, field

import numpy as np

from tetrad_rollout.engine.protocol import FinishReason, GeneratedSample, GenerationRequest, VersionSpan
from tetrad_rollout.engine.stops import StopRule
from tetrad_wire.ids import PolicyVersion


@dataclass(slots=True, eq=False)
class Job:
    """One request from acceptance to its last sample."""

    request: GenerationRequest
    stop_rule: StopRule
    samples: list[GeneratedSample | None]
    """One place per seed; None until that sample has ended."""
    num_tokens: int = 0
    unreported: list[tuple[int, GeneratedSample]] = field(default_factory=list)
    """Ended since the last progress report."""

    @property
    def is_done(self) -> bool:
        """Every seed has its sample."""
        return all(sample is not None for sample in self.samples)

    def end(self, index: int, sample: GeneratedSample) -> None:
        """Give one seed its sample."""
        self.samples[index] = sample
        self.unreported.append((index, sample))


@dataclass(slots=True, eq=False)
class Row:
    """One sample being generated."""

    job: Job
    index: int
    """Into the request's seeds."""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    spans: list[VersionSpan] = field(default_factory=list)
    """Closed ones only; the tokens since belong to the live version."""
    is_finished: bool = False
    """Ended, and still in the batch because its shape is fixed."""

    def append(self, token: int, logprob: float) -> FinishReason | None:
        """Take the next token; the reason if the sample ends with it."""
        self.tokens.append(token)
        self.logprobs.append(logprob)
        self.job.num_tokens += 1
        if self.job.stop_rule.is_met(self.tokens):
            return FinishReason.STOP
        if len(self.tokens) >= self.job.request.sampling.max_new_tokens:
            return FinishReason.LENGTH
        return None

    def cut_span(self, version: PolicyVersion) -> bool:
        """Close the open span with `version`; False when it has no token."""
        length = len(self.tokens) - sum(span.length for span in self.spans)
        if length == 0:
            return False
        self.spans.append(VersionSpan(version, length))
        return True

    def sample(self, reason: FinishReason, version: PolicyVersion) -> GeneratedSample:
        """What was sampled, with the open span given to `version`."""
        self.cut_span(version)
        return GeneratedSample(
            token_ids=np.array(self.tokens, np.int32),
            logprobs=np.array(self.logprobs, np.float32),
            finish_reason=reason,
            spans=tuple(self.spans),
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples of one job that enter the batch together: a whole group unless it is larger than the batch."""

    job: Job
    indices: range


def chunks_of(job: Job, *, max_rows: int) -> list[Chunk]:
    """Cut a job into parts that fit a batch; the cut depends on the job alone."""
    count = len(job.request.seeds)
    return [Chunk(job, range(start, min(start + max_rows, count))) for start in range(0, count, max_rows)]
