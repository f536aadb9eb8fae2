from collections.abc import Iterator, Mapping
from enum import StrEnum

import pytest

from tetrad_learner.coordinator.core.tables import (
    LEASE,
    RUN,
    SLOT,
    STEP,
    IllegalTransitionError,
    LeaseState,
    SlotState,
    StepState,
    follow,
)
from tetrad_wire.messages.membership import RunState

TABLES: list[tuple[type[StrEnum], Mapping]] = [
    (SlotState, SLOT),
    (StepState, STEP),
    (LeaseState, LEASE),
    (RunState, RUN),
]


def pairs() -> Iterator[tuple[Mapping, StrEnum, StrEnum]]:
    for states, table in TABLES:
        for before in states:
            for after in states:
                yield table, before, after


@pytest.mark.parametrize(("table", "before", "after"), list(pairs()))
def test_follow_allows_what_the_table_has_and_nothing_else(table: Mapping, before: StrEnum, after: StrEnum) -> None:
    if after in table[before]:
        assert follow(table, before, after) is after
    else:
        with pytest.raises(IllegalTransitionError, match=f"{before.value} cannot become {after.value}"):
            follow(table, before, after)


@pytest.mark.parametrize(("states", "table"), TABLES)
def test_every_state_has_its_row(states: type[StrEnum], table: Mapping) -> None:
    assert set(table) == set(states)


def test_a_fate_is_final_but_that_a_poisoned_step_may_be_skipped_by_hand() -> None:
    assert SLOT[SlotState.DROPPED] == frozenset()
    assert SLOT[SlotState.SEALED] == {SlotState.DROPPED}


def test_a_lease_ends_once() -> None:
    assert all(not LEASE[state] for state in LeaseState if state is not LeaseState.HELD)


def test_a_step_is_covered_only_from_where_it_was_durable() -> None:
    assert StepState.COVERED in STEP[StepState.EXECUTED]
    assert StepState.SEALED in STEP[StepState.COVERED]


def test_a_run_that_is_over_can_only_be_started_again() -> None:
    assert {RUN[state] for state in RunState if state.is_over} == {frozenset({RunState.STARTING})}
