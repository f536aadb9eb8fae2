"""Work: leases of prompt groups, finished samples, acknowledgements."""

from enum import StrEnum

import msgspec
import numpy as np

from tetrad_wire.arrays import require, require_range
from tetrad_wire.durations import require_positive
from tetrad_wire.ids import Draw, Incarnation, PolicyVersion, Token
from tetrad_wire.scores import require_scores


class Lane(StrEnum):
    """What a group is for."""

    TRAIN = "train"
    EVAL = "eval"


class FinishReason(StrEnum):
    """Why a sample's last turn ended."""

    STOP = "stop"
    LENGTH = "length"
    ABORTED = "aborted"


class FailureKind(StrEnum):
    """Whose fault a failure is: `infra` is tried elsewhere, `data` is parked after few attempts."""

    INFRA = "infra"
    DATA = "data"


class Disposition(StrEnum):
    """What became of a sample that was sent."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


class ChatMessage(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: str
    """Such as `user`."""
    content: str
    """The text."""


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """One dataset row."""

    messages: tuple[ChatMessage, ...]
    """What the policy is shown."""
    env_class: str
    """The environment that grades it."""
    ground_truth: str | None
    """The right answer; nil where the row has none."""
    extras: dict[str, object] = {}
    """All other columns of the row."""
    uid: str = ""
    """Dataset hash and row, for reporting only."""


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens are drawn."""

    max_generate_length: int
    """Tokens of one turn, at most."""
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    """1 is off."""
    top_k: int = -1
    """-1 is off."""
    min_p: float = 0.0
    """0 is off."""
    stop: tuple[str, ...] = ()
    """Texts that end a turn."""
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end a turn."""


class LeaseGranted(msgspec.Struct, frozen=True, kw_only=True):
    """The right to produce one group, and everything needed to do so."""

    token: Token
    nonce: str
    """Unguessable; returned with each sample."""
    lane: Lane
    round: int = 0
    """Evaluation round; 0 in the training lane."""
    draw: Draw
    """Ordinal of the dataset cursor (training) or of the evaluation row."""
    prompt: Prompt
    indices: tuple[int, ...]
    """Sample indices to produce."""
    seeds: tuple[int, ...]
    """Sampling seed of each index; the seed of a turn derives from it."""
    sampling: SamplingParams
    version_min: PolicyVersion
    """Oldest policy version that may be used."""
    is_version_exact: bool = True
    """Whether only `version_min` may be used (staleness 0)."""
    grader_version: str = ""
    """Pinned for the group; empty accepts the replica's."""
    max_turns: int = 1
    """Turns of an episode, at most."""
    progress_timeout_s: float
    """The lease ends when nothing progresses for this long."""
    hard_timeout_s: float
    """The lease ends after this long in any case."""

    def __post_init__(self) -> None:
        """One seed for each index; both durations are finite and above 0."""
        if len(self.seeds) != len(self.indices):
            raise ValueError(f"{len(self.seeds)} seeds for {len(self.indices)} sample indices")
        require_positive(self.progress_timeout_s, "progress_timeout_s")
        require_positive(self.hard_timeout_s, "hard_timeout_s")


class LeasesRenewed(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of held leases between two heartbeats."""

    incarnation: Incarnation
    tokens: tuple[Token, ...]
    """The leases."""
    progress: tuple[int, ...]
    """One for each token."""

    def __post_init__(self) -> None:
        """One progress count for each token."""
        if len(self.progress) != len(self.tokens):
            raise ValueError(f"{len(self.progress)} progress counts for {len(self.tokens)} tokens")


class LeaseReturned(msgspec.Struct, frozen=True, kw_only=True):
    """A replica gives a lease back; samples not sent yet will not come from it."""

    token: Token
    kind: FailureKind
    reason: str
    """What happened, for the log and the evidence."""
    indices: tuple[int, ...] = ()
    """Samples that failed; empty means all that are missing."""
    nonce: str = ""
    """Of the lease; the return of a lease that the sender was not given is disregarded."""


class LeaseRevoked(msgspec.Struct, frozen=True, kw_only=True):
    """The coordinator takes a lease away; what comes late is judged by its slot."""

    token: Token
    reason: str
    """For the log."""


class VersionSpan(msgspec.Struct, frozen=True):
    """A run of sampled tokens that one policy version drew."""

    version: PolicyVersion
    length: int
    """Sampled tokens, in order of sampling."""


class SampleFinished(msgspec.Struct, frozen=True, kw_only=True):
    """One finished, graded sample. Resent until acknowledged."""

    token: Token
    nonce: str
    """Of the lease."""
    lane: Lane
    round: int = 0
    """Of the lease."""
    draw: Draw
    index: int
    """Sample index within the group."""
    incarnation: Incarnation
    """Of the engine that produced it."""
    prompt_length: int
    """Tokens before the first sampled one."""
    finish_reason: FinishReason
    num_turns: int
    """Turns that the policy took."""
    spans: tuple[VersionSpan, ...]
    """The versions that drew the sampled tokens, in order."""
    grader_version: str
    """Of the environment that graded it."""
    token_ids: np.ndarray
    """int32[T]: prompt, sampled tokens and observations, in order."""
    loss_mask: np.ndarray
    """uint8[T]: 1 where the policy sampled the token."""
    rollout_logprobs: np.ndarray
    """float32[T] at the sampling temperature, 0 where not sampled."""
    reward_positions: np.ndarray
    """int32[K]: last token of each rewarded turn."""
    reward_values: np.ndarray
    """float32[K]: reward of that turn; their sum is the sample's reward."""
    metrics: dict[str, float] = {}
    """From the environment."""
    response: str = ""
    """Decoded text of the last turn, for the eyes only."""
    seconds: float = 0.0
    """From grant to grade."""
    scores: dict[str, float] = {}
    """What other rules would have paid, by name, summed over turns as the reward is: at most 8, each finite."""

    def __post_init__(self) -> None:
        """Arrays have the types and lengths above, log-probs, rewards and scores are finite.

        The mask holds 0 and 1, and 0 in the prompt; each span has a token, and all cover the sampled ones; rewarded
        positions lie within the sample.
        """
        require(self.token_ids, "token_ids", "int32")
        require(self.loss_mask, "loss_mask", "uint8", length=len(self.token_ids))
        require(self.rollout_logprobs, "rollout_logprobs", "float32", length=len(self.token_ids))
        require(self.reward_positions, "reward_positions", "int32")
        require(self.reward_values, "reward_values", "float32", length=len(self.reward_positions))
        if not 0 < self.prompt_length <= len(self.token_ids):
            raise ValueError(f"prompt_length {self.prompt_length} of {len(self.token_ids)} tokens")
        if not np.isfinite(self.reward_values).all() or not np.isfinite(self.rollout_logprobs).all():
            raise ValueError("rewards and log-probs must be finite")
        require_scores(self.scores)
        require_range(self.loss_mask, "loss_mask", low=0, high=1)
        require_range(self.reward_positions, "reward_positions", low=0, high=len(self.token_ids) - 1)
        self._check_spans()

    @property
    def reward(self) -> float:
        """Sum over turns."""
        return float(self.reward_values.sum())

    def _check_spans(self) -> None:
        lengths = [span.length for span in self.spans]
        if min(lengths, default=1) < 1:
            raise ValueError(f"version spans of {lengths} tokens; each needs at least 1")
        sampled = int(self.loss_mask.sum())
        if sampled != sum(lengths):
            raise ValueError(f"version spans cover {sum(lengths)} of {sampled} sampled tokens")
        if self.loss_mask[: self.prompt_length].any():
            raise ValueError(f"loss_mask marks a sampled token among the {self.prompt_length} of the prompt")


class SampleAck(msgspec.Struct, frozen=True, kw_only=True):
    """The coordinator's durable word about one sample."""

    token: Token
    lane: Lane
    round: int = 0
    """Of the lease."""
    draw: Draw
    index: int
    """Sample index within the group."""
    disposition: Disposition
    reason: str = ""
    """Why it was not accepted."""


class SamplesAcknowledged(msgspec.Struct, frozen=True, kw_only=True):
    """Acknowledgements of one group commit."""

    acks: tuple[SampleAck, ...]
    """One for each sample."""
