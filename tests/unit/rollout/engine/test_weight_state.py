"""The table of weight states and what a status carries through it."""

from __future__ import annotations

import pytest

from tetrad_rollout.engine.errors import WeightStateError
from tetrad_rollout.engine.weight_state import (
    TRANSITIONS,
    UNVERSIONED,
    WeightEvent,
    WeightState,
    WeightStatus,
    next_state,
    step,
)
from tetrad_wire.ids import PolicyVersion

SEVEN = PolicyVersion(7)


def through(*events: WeightEvent, status: WeightStatus | None = None) -> WeightStatus:
    status = status or WeightStatus()
    for event in events:
        status = step(status, event, version=SEVEN, digest="d7")
    return status


CERTIFIED = (
    WeightEvent.BEGIN_STAGE,
    WeightEvent.VERIFY,
    WeightEvent.PAUSE,
    WeightEvent.COMMIT,
    WeightEvent.CERTIFY,
)


def test_the_road_to_a_certificate_is_stage_verify_pause_commit_certify() -> None:
    status = through(*CERTIFIED)

    assert status == WeightStatus(state=WeightState.CERTIFIED, live_version=SEVEN, live_digest="d7", is_certified=True)


def test_quarantine_is_reached_from_anywhere_and_left_by_seeding_only() -> None:
    for state in WeightState:
        assert next_state(state, WeightEvent.FAIL) is WeightState.QUARANTINED

    ways_out = {
        event for (state, event), to in TRANSITIONS.items() if state is WeightState.QUARANTINED and to is not state
    }
    assert ways_out == {WeightEvent.BEGIN_STAGE, WeightEvent.BEGIN_IN_PLACE}


def test_only_a_paused_engine_commits_and_only_a_committed_one_is_certified_first() -> None:
    assert [state for state, event in TRANSITIONS if event is WeightEvent.COMMIT] == [WeightState.PAUSED]
    assert {to for (_, event), to in TRANSITIONS.items() if event is WeightEvent.CERTIFY} == {WeightState.CERTIFIED}
    assert (WeightState.STAGED, WeightEvent.CERTIFY) not in TRANSITIONS


def test_every_state_can_be_reached() -> None:
    assert set(TRANSITIONS.values()) | {WeightState.EMPTY} == set(WeightState)


def test_staging_a_newer_version_keeps_the_certificate_of_the_live_one() -> None:
    status = step(through(*CERTIFIED), WeightEvent.BEGIN_STAGE, version=PolicyVersion(8))

    assert (status.live_version, status.is_certified, status.staged_version) == (SEVEN, True, 8)


def test_nobody_knows_what_is_live_while_it_is_written_over() -> None:
    status = through(WeightEvent.BEGIN_IN_PLACE, status=through(*CERTIFIED))

    assert status == WeightStatus(state=WeightState.REPLACING, staged_version=SEVEN)
    assert through(*CERTIFIED[1:2], *CERTIFIED[3:], status=status) == through(*CERTIFIED)


@pytest.mark.parametrize("event", [WeightEvent.WAKE, WeightEvent.FAIL])
def test_waking_and_quarantine_take_the_certificate(event: WeightEvent) -> None:
    assert not step(through(*CERTIFIED), event).is_certified


def test_a_commit_is_not_certified_and_empties_the_stage() -> None:
    status = through(*CERTIFIED[:4])

    assert (status.is_certified, status.staged_version, status.staged_digest) == (False, UNVERSIONED, "")


def test_an_illegal_event_names_what_would_be_legal() -> None:
    with pytest.raises(WeightStateError, match=r"commit is illegal while the weights are staging; legal now: .*verify"):
        through(WeightEvent.BEGIN_STAGE, WeightEvent.COMMIT)
