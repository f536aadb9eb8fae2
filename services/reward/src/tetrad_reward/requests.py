"""What a replica and its worker processes say to each other, in order, over one pipe.

Plain data both ways. Replies come in the order of the requests; `number` proves it.
"""

import math

import msgspec

from tetrad_wire.messages.episodes import GradeOutcome
from tetrad_wire.messages.leases import ChatMessage, FailureKind
from tetrad_wire.scores import require_scores


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an environment is made from, and may be made from again elsewhere."""

    grader: str
    """Name under which the grader was loaded."""
    messages: tuple[ChatMessage, ...]
    extras: dict[str, object]
    """Columns of the row, with `reward_spec.ground_truth`, `max_turns` and `seed`."""


class Load(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """Import a grader; answered by Loaded."""

    name: str
    """What openings call it."""
    reference: str
    config: dict[str, object] = {}
    version: str = ""
    """Refused unless the grader has this version; empty accepts any."""


class Open(msgspec.Struct, frozen=True, kw_only=True, tag="open"):
    """Make an episode's environment; answered by Opened."""

    episode: str
    opening: Opening


class Step(msgspec.Struct, frozen=True, kw_only=True, tag="step"):
    """Score one turn of an open episode; answered by Stepped."""

    episode: str
    action: str


class Grade(msgspec.Struct, frozen=True, kw_only=True, tag="grade"):
    """Open, step once and close; answered by Stepped."""

    opening: Opening
    action: str


class Close(msgspec.Struct, frozen=True, kw_only=True, tag="close"):
    """Let go of episodes; answered by Closed."""

    episodes: tuple[str, ...]


class Loaded(msgspec.Struct, frozen=True, kw_only=True, tag="loaded"):
    """The grader can be used."""

    version: str
    is_replayable: bool
    grade_timeout_s: float = 0.0
    """The grader's own deadline for a turn, where it is below that of the run; 0 is none."""


class Opened(msgspec.Struct, frozen=True, kw_only=True, tag="opened"):
    """The episode's environment exists."""

    messages: tuple[ChatMessage, ...]
    """What the policy is shown first."""


class Stepped(msgspec.Struct, frozen=True, kw_only=True, tag="stepped"):
    """The environment answered."""

    reward: float
    is_done: bool
    duration_s: float
    observations: tuple[ChatMessage, ...] = ()
    postprocessed_action: str | None = None
    extracted: str | None = None
    rule: str | None = None
    metrics: dict[str, float] = {}
    scores: dict[str, float] = {}

    def __post_init__(self) -> None:
        """Checked again on the replica's side: a grader can reach the pipe of its worker."""
        require_scores(self.scores)
        if not math.isfinite(self.reward):
            raise ValueError(f"reward {self.reward} is not finite")


class Closed(msgspec.Struct, frozen=True, kw_only=True, tag="closed"):
    """The episodes are gone."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """There is no result, and none is made up."""

    outcome: GradeOutcome
    """timeout, crashed or refused."""
    kind: FailureKind
    reason: str
    duration_s: float = 0.0


Request = Load | Open | Step | Grade | Close
Reply = Loaded | Opened | Stepped | Closed | Failed


class Numbered(msgspec.Struct, frozen=True, array_like=True):
    """A request with its place in the order."""

    number: int
    request: Request


class Answered(msgspec.Struct, frozen=True, array_like=True):
    """A reply with the place of its request."""

    number: int
    reply: Reply
    is_last: bool
    """Whether the worker leaves after this reply and answers nothing more."""


def refused(reason: str, *, kind: FailureKind) -> Failed:
    """A failure that no environment had a part in."""
    return Failed(outcome=GradeOutcome.REFUSED, kind=kind, reason=reason)


def crashed(reason: str, *, kind: FailureKind, duration_s: float = 0.0) -> Failed:
    """A failure of the environment or of the worker that it lived in."""
    return Failed(outcome=GradeOutcome.CRASHED, kind=kind, reason=reason, duration_s=duration_s)


def timed_out(reason: str, *, duration_s: float) -> Failed:
    """A grade that took too long; wall-clock expiry says more about the machine than about the prompt."""
    return Failed(outcome=GradeOutcome.TIMEOUT, kind=FailureKind.INFRA, reason=reason, duration_s=duration_s)
