"""Health and readiness follow the stage, and the stage follows the table."""

import pytest

from tetrad_runtime.lifecycle import TRANSITIONS, Event, IllegalTransitionError, Lifecycle, Stage

LIFE = [Event.BECAME_READY, Event.ASKED_TO_STOP, Event.ENDED]


def test_a_life_is_healthy_to_its_end_and_ready_in_between():
    life = Lifecycle()
    seen = [(life.stage, life.health().ok, life.readiness().ok)]

    for event in LIFE:
        life.handle(event)
        seen.append((life.stage, life.health().ok, life.readiness().ok))

    assert seen == [
        (Stage.STARTING, True, False),
        (Stage.READY, True, True),
        (Stage.DRAINING, True, False),
        (Stage.STOPPED, False, False),
    ]


def test_before_it_is_ready_it_names_what_it_waits_for():
    life = Lifecycle()
    life.waits_for("the first weights")

    assert life.readiness().detail == "waiting for the first weights"


def test_a_draining_service_does_not_become_ready_again():
    life = Lifecycle()
    life.handle(Event.ASKED_TO_STOP)

    assert life.handle(Event.BECAME_READY) is Stage.DRAINING


def test_a_stopped_service_does_not_start_when_a_last_word_arrives():
    life = Lifecycle()
    life.handle(Event.ENDED)

    assert life.handle(Event.BECAME_READY) is Stage.STOPPED


def test_what_the_table_does_not_allow_is_a_bug():
    life = Lifecycle()
    life.handle(Event.ENDED)

    with pytest.raises(IllegalTransitionError, match="asked_to_stop is not possible while stopped"):
        life.handle(Event.ASKED_TO_STOP)


def test_only_changes_are_reported():
    seen = []
    life = Lifecycle(on_change=seen.append)

    for event in [Event.BECAME_READY, Event.BECAME_READY, Event.ENDED, Event.ENDED]:
        life.handle(event)

    assert seen == [Stage.READY, Stage.STOPPED]


def test_every_stage_can_end():
    assert {stage for stage, event in TRANSITIONS if event is Event.ENDED} == set(Stage)
