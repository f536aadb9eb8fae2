"""The state tables of run, step, slot and lease: what may follow what, and nothing else."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

from tetrad_wire.messages.membership import RunState


class SlotState(StrEnum):
    """Where one sample is on its way to its fate."""

    EMPTY = "empty"
    """Drawn; no sample yet."""
    FILLED = "filled"
    """Its sample is in the inbox."""
    SEALED = "sealed"
    """In exactly one training step."""
    DROPPED = "dropped"
    """Not trained, for a reason that is written down."""


class StepState(StrEnum):
    """How far a training step has come."""

    SEALED = "sealed"
    """Its batch is in the journal."""
    EXECUTED = "executed"
    """The weights of the ranks contain it."""
    COVERED = "covered"
    """A checkpoint contains it."""


class LeaseState(StrEnum):
    """What became of a lease."""

    HELD = "held"
    """An engine works on the group."""
    DONE = "done"
    """Nothing of the group is missing any more."""
    RETURNED = "returned"
    """The engine gave it back."""
    EXPIRED = "expired"
    """It made no progress, became too old, or its engine is gone."""
    REVOKED = "revoked"
    """The coordinator took it away."""


class DropReason(StrEnum):
    """Why samples were drawn and not trained."""

    GROUP_INCOMPLETE = "group_incomplete"
    STALE = "stale"
    GRADER_GONE = "grader_gone"
    FILTERED = "filtered"
    """Dynamic sampling drew others in its place: its rewards were all equal, or those of too many of its batch were."""
    REPLACED = "replaced"
    """Its rewards were all equal, and copies of other groups took its place in the step."""
    END_OF_RUN = "end_of_run"
    SKIPPED = "skipped"
    """Of a step that gave a non-finite loss and was skipped by hand."""


State = TypeVar("State", bound=StrEnum)

SLOT: Final[Mapping[SlotState, frozenset[SlotState]]] = {
    SlotState.EMPTY: frozenset({SlotState.FILLED, SlotState.DROPPED}),
    SlotState.FILLED: frozenset({SlotState.SEALED, SlotState.DROPPED}),
    # Its step was poisoned, and skipped by hand.
    SlotState.SEALED: frozenset({SlotState.DROPPED}),
    SlotState.DROPPED: frozenset(),
}

STEP: Final[Mapping[StepState, frozenset[StepState]]] = {
    # At once to covered: the ranks were reloaded from a checkpoint that an earlier lineage wrote after this step.
    StepState.SEALED: frozenset({StepState.EXECUTED, StepState.COVERED}),
    # Back to sealed: the ranks were reloaded from a checkpoint before this step.
    StepState.EXECUTED: frozenset({StepState.COVERED, StepState.SEALED}),
    StepState.COVERED: frozenset({StepState.SEALED}),
}

LEASE: Final[Mapping[LeaseState, frozenset[LeaseState]]] = {
    LeaseState.HELD: frozenset({LeaseState.DONE, LeaseState.RETURNED, LeaseState.EXPIRED, LeaseState.REVOKED}),
    LeaseState.DONE: frozenset(),
    LeaseState.RETURNED: frozenset(),
    LeaseState.EXPIRED: frozenset(),
    LeaseState.REVOKED: frozenset(),
}

RUN: Final[Mapping[RunState, frozenset[RunState]]] = {
    RunState.STARTING: frozenset({RunState.RUNNING, RunState.DRAINING, RunState.FAILED}),
    RunState.RUNNING: frozenset({RunState.STALLED, RunState.DRAINING, RunState.FAILED, RunState.STARTING}),
    RunState.STALLED: frozenset({RunState.RUNNING, RunState.DRAINING, RunState.FAILED, RunState.STARTING}),
    RunState.DRAINING: frozenset({RunState.ENDED, RunState.FAILED, RunState.STARTING}),
    # A later start may continue: more steps were asked for, or the fault was mended.
    RunState.ENDED: frozenset({RunState.STARTING}),
    RunState.FAILED: frozenset({RunState.STARTING}),
}


class IllegalTransitionError(AssertionError):
    """A state was asked to become what its table forbids: a bug."""


def follow(table: Mapping[State, frozenset[State]], before: State, after: State) -> State:
    """Return `after`; raise IllegalTransitionError where the table has no such edge."""
    if after not in table[before]:
        raise IllegalTransitionError(f"{type(before).__name__}: {before.value} cannot become {after.value}")
    return after
