"""The life of one supervised instance, as a table.

Pure. `instance.py` reports the events.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """What an instance is doing."""

    PENDING = "pending"
    STARTING = "starting"
    UP = "up"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    STOPPED = "stopped"
    GIVEN_UP = "given up"

    @property
    def is_over(self) -> bool:
        """Whether no process will come again."""
        return self in {State.STOPPED, State.GIVEN_UP}


class Event(StrEnum):
    """What happened to it."""

    SPAWNED = "spawned"
    HEALTHY = "healthy"
    CRASHED = "crashed"
    ASKED_TO_STOP = "asked_to_stop"
    ENDED = "ended"
    GAVE_UP = "gave_up"


TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = {
    (State.PENDING, Event.SPAWNED): State.STARTING,
    (State.PENDING, Event.ASKED_TO_STOP): State.STOPPING,
    (State.STARTING, Event.HEALTHY): State.UP,
    (State.STARTING, Event.CRASHED): State.BACKOFF,
    (State.STARTING, Event.ASKED_TO_STOP): State.STOPPING,
    (State.STARTING, Event.GAVE_UP): State.GIVEN_UP,
    (State.STARTING, Event.ENDED): State.STOPPED,
    (State.UP, Event.CRASHED): State.BACKOFF,
    (State.UP, Event.ASKED_TO_STOP): State.STOPPING,
    (State.UP, Event.GAVE_UP): State.GIVEN_UP,
    (State.UP, Event.ENDED): State.STOPPED,
    (State.BACKOFF, Event.SPAWNED): State.STARTING,
    (State.BACKOFF, Event.ASKED_TO_STOP): State.STOPPING,
    # It may still have become healthy in the moment that it was asked to stop.
    (State.STOPPING, Event.HEALTHY): State.STOPPING,
    (State.STOPPING, Event.ASKED_TO_STOP): State.STOPPING,
    (State.STOPPING, Event.ENDED): State.STOPPED,
    (State.STOPPED, Event.ASKED_TO_STOP): State.STOPPED,
    (State.GIVEN_UP, Event.ASKED_TO_STOP): State.GIVEN_UP,
}


def after(state: State, event: Event) -> State:
    """Return the next state; raises KeyError where the table has no entry, which is a bug of ours."""
    return TRANSITIONS[state, event]
