"""What every inference engine is: requests in, tokens with log-probs and version spans out, weights in two phases.

Owns the value types and the `Engine` protocol. Must not know torch, sglang, leases, episodes or the wire.

An update of the weights is: `begin_stage` → fill the buffer → `verify_stage` (all while the engine serves) →
`pause` → `commit` → `probe` → `resume`; `tetrad_rollout.engine.update.switch_weights` performs the second half. Where
there is no room for a stage it is `pause` → `begin_in_place` → fill → `verify_stage` → `commit` → `probe` → `resume`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType, Protocol

import numpy as np
import numpy.typing as npt

from tetrad_rollout.engine.errors import InvalidRequestError
from tetrad_rollout.engine.weight_state import WeightStatus
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.membership import MemoryFigures
from tetrad_wire.messages.weights import Canary, DeviceHandle, Manifest, TensorSpec

RequestId = NewType("RequestId", str)
TOP_K_OFF: Final = -1
_MAX_SEED: Final = 2**64


class FinishReason(StrEnum):
    """Why a sample ended."""

    STOP = "stop"
    """It sampled an end-of-sequence or stop token, or its text reached a stop string."""
    LENGTH = "length"
    """It reached `max_new_tokens`."""
    ABORTED = "aborted"
    """The request was aborted; the tokens so far are valid, the sample is not whole."""


class PauseMode(StrEnum):
    """What a pause does to requests in flight."""

    IN_PLACE = "in_place"
    """They stop at a token boundary, keep their KV and go on after `resume`."""
    ABORT = "abort"
    """They end at once with FinishReason.ABORTED and the tokens so far."""


class CachePolicy(StrEnum):
    """What a commit did to the KV computed with the weights before."""

    FLUSH = "flush"
    """The engine was idle: nothing computed with older weights is left."""
    KEEP = "keep"
    """Requests in flight go on with their KV; their spans are cut. No new request can meet that KV."""


class MemoryTag(StrEnum):
    """What `sleep` may release."""

    KV_CACHE = "kv_cache"
    WEIGHTS = "weights"


ALL_TAGS: Final = frozenset(MemoryTag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are chosen. Filters apply in the order top-k, top-p, min-p, after the temperature."""

    max_new_tokens: int
    temperature: float = 1.0
    """0 is greedy; log-probs are then at temperature 1."""
    top_p: float = 1.0
    top_k: int = TOP_K_OFF
    min_p: float = 0.0
    stop_strings: tuple[str, ...] = ()
    """The sample ends with the token that completes one of these; the token is kept."""
    stop_token_ids: tuple[int, ...] = ()
    """Beside the model's own end-of-sequence ids; the token is kept."""
    ignore_eos: bool = False
    """Go on past end-of-sequence and stop tokens (throughput measurements)."""

    def __post_init__(self) -> None:
        checks = {
            f"max_new_tokens is {self.max_new_tokens}; it must be at least 1": self.max_new_tokens >= 1,
            f"temperature is {self.temperature}; it must be finite and at least 0": 0.0 <= self.temperature < np.inf,
            f"top_p is {self.top_p}; it must be in (0, 1]": 0.0 < self.top_p <= 1.0,
            f"top_k is {self.top_k}; it must be -1 (off) or at least 1": self.top_k == TOP_K_OFF or self.top_k >= 1,
            f"min_p is {self.min_p}; it must be in [0, 1]": 0.0 <= self.min_p <= 1.0,
            "stop_strings holds an empty string; leave it out": all(self.stop_strings),
        }
        for message, is_met in checks.items():
            if not is_met:
                raise InvalidRequestError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One prompt and the samples wanted of it."""

    request_id: RequestId
    """Unique among the requests in flight on one engine."""
    prompt_ids: npt.NDArray[np.int32]
    """[T], T ≥ 1."""
    seeds: tuple[int, ...]
    """One 64-bit seed per sample; a sample is a function of prompt, seed and weights."""
    sampling: Sampling

    def __post_init__(self) -> None:
        if self.prompt_ids.ndim != 1 or self.prompt_ids.size == 0 or self.prompt_ids.dtype != np.int32:
            shape, dtype = self.prompt_ids.shape, self.prompt_ids.dtype
            raise InvalidRequestError(f"prompt_ids is {dtype}{list(shape)}; it must be int32[T] with T ≥ 1")
        if not self.seeds or not all(0 <= seed < _MAX_SEED for seed in self.seeds):
            raise InvalidRequestError(f"seeds is {self.seeds}; it must hold at least one value in [0, 2⁶⁴)")


@dataclass(frozen=True, slots=True)
class VersionSpan:
    """A run of sampled tokens that came from one policy version."""

    version: PolicyVersion
    length: int
    """Tokens; at least 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GeneratedSample:
    """What was sampled for one seed."""

    token_ids: npt.NDArray[np.int32]
    """[T], the stop token included; empty only when aborted before the first token."""
    logprobs: npt.NDArray[np.float32]
    """[T], of the sampled tokens at the sampling temperature, over the full vocabulary (filters do not enter)."""
    finish_reason: FinishReason
    spans: tuple[VersionSpan, ...]
    """In order; the lengths add up to T."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a request has come; reported about once per token step, on the caller's event loop."""

    request_id: RequestId
    num_tokens: int
    """Sampled so far, all samples together."""
    finished: tuple[tuple[int, GeneratedSample], ...]
    """(index into `seeds`, sample) of those that ended since the last report."""


ProgressCallback = Callable[[Progress], None]


class WeightLayout(Protocol):
    """Names, dtypes, shapes and places of all parameters: a `Manifest`, or a `tetrad_weights.Layout`."""

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """Under the model's parameter names, in any order."""
        ...

    @property
    def num_bytes(self) -> int:
        """Of the whole layout, gaps included."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitReport:
    """What a commit did."""

    version: PolicyVersion
    digest: str
    cache_policy: CachePolicy
    spans_cut: int
    """Samples in flight whose tokens now come from two versions or more."""
    seconds: float
    """That the engine thread was kept from generating by the commit itself."""
    flush_s: float = 0.0
    """Of these, forgetting the KV of older weights; 0 where that takes no call of its own."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbeReport:
    """What a tiny forward with the live weights gave."""

    version: PolicyVersion
    logprobs: npt.NDArray[np.float32]
    """Of the canary's tokens, or of fixed ones; equal for equal weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatistics:
    """Counters since the start, and gauges of this moment."""

    waiting_samples: int
    """Accepted and not yet in a forward."""
    running_samples: int
    peak_running_samples: int
    requests_finished: int
    requests_failed: int
    requests_aborted: int
    prompt_tokens: int
    """Prefilled; a prompt counts once for all its samples."""
    generated_tokens: int
    forward_passes: int
    forward_s: float
    """Spent in forward passes and sampling."""
    step_age_s: float
    """Since the last token step, while samples run and the engine is not paused; 0 otherwise. Grows when frozen."""
    is_alive: bool
    is_paused: bool
    is_asleep: bool
    last_failure: str
    """Of the newest failed forward; empty when there was none."""
    weights: WeightStatus


class Engine(Protocol):
    """An inference engine as the rollout service sees it. Methods run on the event loop and never block it."""

    async def generate(
        self, request: GenerationRequest, on_progress: ProgressCallback | None = None
    ) -> list[GeneratedSample]:
        """One sample per seed, in the order of the seeds. The prompt's prefix is computed once.

        A cancelled caller aborts its request.

        Raises:
            InvalidRequestError: longer than the context, a duplicate id, a stop string without a tokenizer.
            EngineBusyError: the queue is full.
            ForwardFailedError: the forward that held this request failed.
            EngineAsleepError, EngineClosedError: as their names say.
        """
        ...

    async def abort(self, request_id: RequestId) -> bool:
        """End a request at the next token boundary with what it has; False when it is not in flight."""
        ...

    async def pause(self, mode: PauseMode = PauseMode.IN_PLACE) -> None:
        """Returns at a token boundary; no forward runs until `resume`. New requests wait. Idempotent."""
        ...

    async def resume(self) -> None:
        """Generate again. Idempotent; refused between `commit` and a passed `probe`."""
        ...

    def begin_stage(self, layout: WeightLayout, *, version: PolicyVersion) -> npt.NDArray[np.uint8]:
        """A writable buffer uint8[layout.num_bytes] beside the live weights, for the caller to fill in any thread.

        Never waits for a forward. The buffer is reused: its old content means nothing. Beginning anew supersedes
        a stage that was not committed; nobody may write into the earlier one any more.

        Raises:
            LayoutError: names, dtypes or shapes are not the model's.
        """
        ...

    def stage_shortage(self) -> int:
        """Bytes that lack for a stage beside the live weights; 0 where there is room, or a stage already."""
        ...

    def begin_in_place(self, layout: WeightLayout, *, version: PolicyVersion) -> npt.NDArray[np.uint8]:
        """The live weights themselves, to be filled and verified like a stage, where there is no room for one.

        The engine must be paused, and stays so until a version has come whole, was committed and probed: whatever
        becomes of this one, nothing is certified in between.

        Raises:
            WeightStateError: not paused, or this engine's weights are not overwritten.
            LayoutError: as `begin_stage`, or not as large as the live weights.
        """
        ...

    async def verify_stage(self, *, digest: str, found: str | None = None) -> None:
        """Check the filled buffer against the manifest's digest while the engine serves.

        `found` is the digest that whoever filled the buffer took of the bytes there; without it the engine takes
        it, on a thread of its own. Nobody may write into the buffer afterwards.

        Raises:
            DigestMismatchError: the engine is quarantined; the weights that serve are untouched.
        """
        ...

    @property
    def gpu(self) -> str:
        """UUID of the GPU whose memory `stage_from_device` reads; empty where the engine takes bytes from the host."""
        ...

    @property
    def other_gpus(self) -> tuple[str, ...]:
        """UUIDs of its further GPUs, in the order of its parts; empty for an engine on one."""
        ...

    async def stage_from_device(
        self, handle: DeviceHandle, manifest: Manifest, *, version: PolicyVersion, others: Sequence[DeviceHandle] = ()
    ) -> None:
        """Stage and verify a version in another process's memory on the engine's GPU; nothing passes through the host.

        Each further GPU of the engine reads the one of `others` that lies there, or the first one's from afar.

        Raises:
            TransportUnusableError: the memory is not the one that was promised, or cannot be mapped here.
            DigestMismatchError: naming the tensor; the engine is quarantined, the weights that serve are untouched.
            LayoutError, WeightStateError: as `begin_stage`.
        """
        ...

    async def commit(self, *, version: PolicyVersion, digest: str) -> CommitReport:
        """Make the verified stage live. The engine must be paused.

        Raises:
            WeightStateError: not paused, or nothing verified.
            DigestMismatchError: another version or digest is staged.
        """
        ...

    async def probe(self, canary: Canary | None = None) -> ProbeReport:
        """Prove that the engine computes with the committed weights, and certify them.

        With `canary`, also that it computes what the learner, or another engine, computed with the same weights.

        Raises:
            ProbeFailedError: the engine is quarantined and stays paused.
        """
        ...

    async def weights_digest(self) -> str:
        """Digest of the bytes that the engine computes with now, in the layout that they were committed in."""
        ...

    async def sleep(self, tags: frozenset[MemoryTag] = ALL_TAGS) -> None:
        """Release memory. Refused (EngineBusyError) while requests wait or run. Idempotent.

        With WEIGHTS a stage that was not committed is given up: the engine is quarantined until it is staged again.
        """
        ...

    async def wake(self, tags: frozenset[MemoryTag] = ALL_TAGS) -> None:
        """Take back what `sleep` released of these; committed weights must be probed once more. Idempotent.

        With its weights alone an engine can be staged and committed; it can be probed, and serves, once all is back.
        """
        ...

    def memory(self) -> MemoryFigures:
        """Bytes that it holds now where its weights are, and what is free there; cheap, callable from any thread."""
        ...

    def needed_to_wake(self, tags: frozenset[MemoryTag]) -> int:
        """Bytes that `wake` of these will take from the device: what `sleep` released of them; 0 on a CPU."""
        ...

    def statistics(self) -> EngineStatistics:
        """A snapshot; cheap, callable from any thread."""
        ...

    def exported_metrics(self) -> bytes:
        """Metrics that the engine's own server counts, as Prometheus text; empty for one that counts none."""
        ...

    async def close(self, *, timeout_s: float = 10.0) -> None:
        """End all requests (EngineClosedError) and the thread; TimeoutError when a forward does not return."""
        ...
