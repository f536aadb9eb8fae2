"""What is durable: each fact is one row written, and the whole ledger is their sum."""

from dataclasses import dataclass

from tetrad_learner.coordinator.core.device_phases import DevicePhase
from tetrad_learner.coordinator.core.tables import DropReason, LeaseState
from tetrad_wire.ids import Draw, Incarnation, PolicyVersion, Token
from tetrad_wire.messages.membership import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that happened and stays so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDrawn(Fact):
    """The cursor moved on: a group exists, its slots are empty."""

    draw: Draw
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseBegun(Fact):
    """A group is leased."""

    token: Token
    draw: Draw
    engine: Incarnation
    version: PolicyVersion
    grader_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseOver(Fact):
    """A lease ended."""

    token: Token
    state: LeaseState
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotFilled(Fact):
    """A sample is in the inbox."""

    draw: Draw
    index: int
    token: Token
    versions: tuple[PolicyVersion, ...]
    grader_version: str
    """From now on that of the whole group."""
    digest: str
    reward: float = 0.0
    num_tokens: int = 0
    """Tokens that the policy sampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingGivenUp(Fact):
    """The empty slots of a group are dropped: it is trained without the samples that cannot be had."""

    draw: Draw
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDropped(Fact):
    """Every slot of a group that is not sealed has its fate: dropped, on the way to the step after the sealed ones."""

    draw: Draw
    reason: DropReason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSealed(Fact):
    """A batch is complete, ordered, and in the journal."""

    step: int
    lineage: int
    draws: tuple[int, ...]
    multiplicities: tuple[int, ...] = ()
    """How often each of them is trained on; empty means once each. Their fate is one all the same."""
    journal_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepExecuted(Fact):
    """The ranks have executed a step on a lineage."""

    step: int
    lineage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageOpened(Fact):
    """A set of ranks begins from the weights of `from_step`; later steps count as sealed again."""

    lineage: int
    from_step: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionMinted(Fact):
    """A number is taken for the weights after a step; never used again."""

    version: PolicyVersion
    lineage: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPublished(Fact):
    """The digest of a version is known."""

    version: PolicyVersion
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsCovered(Fact):
    """A checkpoint holds everything up to a step."""

    step: int
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAttempted(Fact):
    """A step is given to the ranks; bounds how often it may kill them."""

    step: int
    lineage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationClosed(Fact):
    """A round was reported; it is not done again."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunChanged(Fact):
    """The run is in another state."""

    state: RunState
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMarkedPoisoned(Fact):
    """A step gave a non-finite loss: it is not executed again unless it is skipped by hand."""

    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSkipped(Fact):
    """A poisoned step is skipped by hand: it is never executed, and its samples are dropped."""

    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEntered(Fact):
    """The device lease is in another phase."""

    phase: DevicePhase
    turn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderAdmitted(Fact):
    """From now on a colocated engine may hold memory of a shared GPU."""

    engine: Incarnation
    process: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderGone(Fact):
    """The process of a colocated engine is dead."""

    engine: Incarnation
