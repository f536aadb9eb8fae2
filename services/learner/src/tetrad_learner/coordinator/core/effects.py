"""What the core wants done. A shell performs effects after their facts are durable."""

from dataclasses import dataclass

from tetrad_learner.coordinator.core.device_phases import DevicePhase
from tetrad_learner.coordinator.core.keys import GroupKey
from tetrad_wire.ids import Incarnation, PolicyVersion, Token
from tetrad_wire.messages.leases import Disposition
from tetrad_wire.messages.membership import EngineMemory, RunState
from tetrad_wire.messages.steps import StatePlace


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Something to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(Effect):
    """Send a lease."""

    engine: Incarnation
    token: Token
    key: GroupKey
    indices: tuple[int, ...]
    version: PolicyVersion
    grader_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke(Effect):
    """Tell an engine to stop working on a lease."""

    engine: Incarnation
    token: Token
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge(Effect):
    """Answer a sample."""

    key: GroupKey
    index: int
    token: Token
    disposition: Disposition
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal(Effect):
    """Write the batch of a step; StepJournaled follows."""

    step: int
    lineage: int
    draws: tuple[int, ...]
    multiplicities: tuple[int, ...] = ()
    """How often each of them is trained on; empty means once each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execute(Effect):
    """Send a sealed step to the ranks; StepDone, StepPoisoned or RanksLost follows."""

    step: int
    lineage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish(Effect):
    """Have rank 0 publish its weights; VersionOut or PublishFailed follows."""

    version: PolicyVersion
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Want(Effect):
    """Make this version the desired one of every engine."""

    version: PolicyVersion
    digest: str
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveCheckpoint(Effect):
    """Have the ranks save; CheckpointCopied follows, then CheckpointWritten, or CheckpointFailed in place of either."""

    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRanks(Effect):
    """Start a new set of ranks from the newest checkpoint that can be used; RanksReady follows, or CannotGoOn."""

    attempt: int
    sealed: int = 0
    """Newest step whose batch is durable: so far must they be able to get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEvaluation(Effect):
    """A round begins: the shell keeps the scores of its samples."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportEvaluation(Effect):
    """A round is over: log its scores; EvaluationReported follows."""

    round: int
    missing: int
    """Samples without a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRun(Effect):
    """The run is in another state; on ENDED and FAILED the coordinator leaves."""

    state: RunState
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnterPhase(Effect):
    """Tell colocated engines what they may hold from now on; EngineBeats say when they have obeyed."""

    phase: DevicePhase
    turn: int
    memory: EngineMemory
    engines: tuple[Incarnation, ...]
    """Those that it is about; others hold nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveState(Effect):
    """Have the ranks bring all that they hold to another place; RanksMoved follows, or RanksLost."""

    place: StatePlace
