"""The table of an instance's life is complete where it must be."""

import pytest

from tetrad_cli.launch.states import TRANSITIONS, Event, State, after


def test_every_state_can_be_asked_to_stop():
    assert {state for state, event in TRANSITIONS if event is Event.ASKED_TO_STOP} == set(State)


def test_a_life_with_a_crash():
    state = State.PENDING
    seen = []
    for event in [Event.SPAWNED, Event.HEALTHY, Event.CRASHED, Event.SPAWNED, Event.ASKED_TO_STOP, Event.ENDED]:
        state = after(state, event)
        seen.append(state)

    assert seen == ["starting", "up", "backoff", "starting", "stopping", "stopped"]


@pytest.mark.parametrize("state", [state for state in State if state.is_over])
def test_what_is_over_does_not_start_again(state):
    with pytest.raises(KeyError):
        after(state, Event.SPAWNED)
