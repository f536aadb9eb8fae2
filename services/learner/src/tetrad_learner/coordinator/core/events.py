"""What happens to the coordinator. Each event carries all that the core may know of it."""

from dataclasses import dataclass, field

from tetrad_learner.coordinator.core.keys import GroupKey
from tetrad_wire.ids import Incarnation, PolicyVersion, Token
from tetrad_wire.messages.leases import FailureKind
from tetrad_wire.messages.membership import Certificate, DeviceReport, Grading, WeightProgress
from tetrad_wire.messages.steps import StatePlace


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at `now` (seconds on the coordinator's monotonic clock)."""

    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked(Event):
    """Time has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineJoined(Event):
    """A rollout replica has registered."""

    incarnation: Incarnation
    credit: int
    """Groups it takes at once."""
    process: str = ""
    """Names its process beyond doubt, where it shares its GPUs with the learner; empty where it has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineBeat(Event):
    """A rollout replica lives, and says what it holds."""

    incarnation: Incarnation
    certificate: Certificate | None
    is_draining: bool = False
    progress: dict[Token, int] = field(default_factory=dict)
    device: DeviceReport | None = None
    """What it holds of a GPU that it shares with the learner."""
    grading: dict[Token, Grading] = field(default_factory=dict)
    """What of its leases is with the reward service."""
    weights: WeightProgress | None = None
    """How far it is with the wanted version; None once it runs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLeft(Event):
    """A rollout replica said farewell or its socket is gone."""

    incarnation: Incarnation


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineGone(Event):
    """The process of a colocated replica is known to be dead: it holds nothing any more."""

    incarnation: Incarnation


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleArrived(Event):
    """A finished sample; its payload is kept by whoever raised the event."""

    key: GroupKey
    index: int
    token: Token
    versions: tuple[PolicyVersion, ...]
    """Every policy version that drew a token of it."""
    grader_version: str
    digest: str
    """Over everything that will be trained on."""
    reward: float = 0.0
    """Of the whole episode."""
    num_tokens: int = 0
    """Tokens that the policy sampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseGivenBack(Event):
    """A replica cannot go on with a lease, or with some of its samples."""

    token: Token
    kind: FailureKind
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RanksReady(Event):
    """All ranks of a new set hold the weights of `step`."""

    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RanksMoved(Event):
    """All ranks have brought what they hold to another place."""

    place: StatePlace


@dataclass(frozen=True, slots=True, kw_only=True)
class RanksLost(Event):
    """The set of ranks is dead as a whole."""

    reason: str
    is_remedied: bool = False
    """Whether the next set begins without what killed this one; such a loss counts for no bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepJournaled(Event):
    """The batch of a step is durable in the journal."""

    step: int
    journal_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone(Event):
    """All ranks have executed a step."""

    step: int
    lineage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPoisoned(Event):
    """A step gave a non-finite loss or gradient."""

    step: int
    lineage: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionOut(Event):
    """The broadcaster holds a version."""

    version: PolicyVersion
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishFailed(Event):
    """A publish was not taken in time."""

    version: PolicyVersion
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcasterHolds(Event):
    """What the broadcaster can serve; a restarted one holds nothing."""

    versions: tuple[PolicyVersion, ...]
    is_fresh: bool = False
    """Whether it has just started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasesProgressed(Event):
    """Held leases have come further."""

    progress: dict[Token, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointCopied(Event):
    """All ranks hold a copy of what the checkpoint of a step needs; it is being written beside their next work."""

    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFailed(Event):
    """The checkpoint of a step could not be written."""

    step: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CannotGoOn(Event):
    """What the run needs from the disk is not there: no checkpoint to load, or no batch to execute."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointWritten(Event):
    """The checkpoint of a step is complete and renamed."""

    step: int
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReported(Event):
    """The scores of a round are logged."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAsked(Event):
    """Somebody wants the run to end before its last step."""

    reason: str
