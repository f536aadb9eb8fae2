"""Turns to score: episodes on a reward replica."""

import math
from enum import StrEnum

import msgspec

from tetrad_wire.messages.leases import ChatMessage, FailureKind
from tetrad_wire.scores import require_scores


class GradeOutcome(StrEnum):
    """How a grade ended. Only `ok` carries a reward."""

    OK = "ok"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    REFUSED = "refused"


class OpenEpisodes(msgspec.Struct, frozen=True, kw_only=True):
    """Start one episode for each sample of a group; answered by EpisodesOpened or EpisodesRefused."""

    episodes: tuple[str, ...]
    """Ids, unique per attempt of a sample."""
    env_class: str
    """Of the prompt."""
    messages: tuple[ChatMessage, ...]
    """Of the prompt."""
    ground_truth: str | None
    """Of the prompt."""
    extras: dict[str, object] = {}
    """Of the prompt."""
    seeds: tuple[int, ...]
    """Environment seed of each episode."""
    max_turns: int = 1
    """Turns of an episode, at most."""
    grader_version: str = ""
    """Refused unless it is the replica's; empty accepts any."""

    def __post_init__(self) -> None:
        """One seed for each episode."""
        if len(self.seeds) != len(self.episodes):
            raise ValueError(f"{len(self.seeds)} seeds for {len(self.episodes)} episodes")


class EpisodesOpened(msgspec.Struct, frozen=True, kw_only=True):
    """The episodes exist."""

    prompts: tuple[tuple[ChatMessage, ...], ...]
    """What each episode shows the policy first; one entry when all are the same."""
    grader_version: str
    """Of the environment that will grade them."""


class EpisodesRefused(msgspec.Struct, frozen=True, kw_only=True):
    """None of the episodes exists."""

    kind: FailureKind
    reason: str
    """For the log."""


class StepEpisode(msgspec.Struct, frozen=True, kw_only=True):
    """One action of the policy; answered by EpisodeStepped. Repeating a turn returns the recorded answer."""

    episode: str
    """Id that OpenEpisodes gave."""
    turn: int
    """From 0; a gap is refused."""
    action: str
    """Decoded text of the turn."""


class EpisodeStepped(msgspec.Struct, frozen=True, kw_only=True):
    """The environment's answer to one turn."""

    episode: str
    """Of the StepEpisode."""
    turn: int
    """Of the StepEpisode."""
    outcome: GradeOutcome
    reason: str = ""
    """Why it is not ok."""
    kind: FailureKind = FailureKind.INFRA
    """Whose fault it is when it is not ok."""
    duration_s: float = 0.0
    """Time that the environment took."""
    observations: tuple[ChatMessage, ...] = ()
    """What the policy is shown next."""
    reward: float | None = None
    """Present exactly when the outcome is ok."""
    is_done: bool = True
    """Whether the episode has ended."""
    postprocessed_action: str | None = None
    """What the environment took as the action, where it is not the text as it was."""
    metrics: dict[str, float] = {}
    """From the environment."""
    extracted: str | None = None
    """The answer that was found in the text."""
    rule: str | None = None
    """How the answer was found or compared."""
    scores: dict[str, float] = {}
    """What other rules would have paid for this turn, by name: at most 8, each finite."""

    def __post_init__(self) -> None:
        """A reward is never made up: it is there, and finite, exactly when the outcome is ok. Scores are named well."""
        require_scores(self.scores)
        if (self.outcome is GradeOutcome.OK) != (self.reward is not None):
            raise ValueError(f"outcome {self.outcome} with reward {self.reward}")
        if self.reward is not None and not math.isfinite(self.reward):
            raise ValueError(f"reward {self.reward} is not finite")


class CloseEpisodes(msgspec.Struct, frozen=True, kw_only=True):
    """Forget these episodes; not answered."""

    episodes: tuple[str, ...]
    """Ids; unknown ones are ignored."""
