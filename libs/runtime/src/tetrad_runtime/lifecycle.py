"""What a service process is doing, as a table; health and readiness follow from it.

Pure. Owns the state; `process.py` reports signals to it, the service reports progress.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from tetrad_telemetry.exporter import Health


class Stage(StrEnum):
    """Where a process is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"


class Event(StrEnum):
    """What moves it on."""

    BECAME_READY = "became_ready"
    ASKED_TO_STOP = "asked_to_stop"
    ENDED = "ended"


TRANSITIONS: Final[Mapping[tuple[Stage, Event], Stage]] = {
    (Stage.STARTING, Event.BECAME_READY): Stage.READY,
    (Stage.STARTING, Event.ASKED_TO_STOP): Stage.DRAINING,
    (Stage.STARTING, Event.ENDED): Stage.STOPPED,
    (Stage.READY, Event.BECAME_READY): Stage.READY,
    (Stage.READY, Event.ASKED_TO_STOP): Stage.DRAINING,
    (Stage.READY, Event.ENDED): Stage.STOPPED,
    # A service that becomes ready while it drains takes no new work all the same.
    (Stage.DRAINING, Event.BECAME_READY): Stage.DRAINING,
    (Stage.DRAINING, Event.ASKED_TO_STOP): Stage.DRAINING,
    (Stage.DRAINING, Event.ENDED): Stage.STOPPED,
    (Stage.STOPPED, Event.ENDED): Stage.STOPPED,
    # The learner's last word may come when the service has left and its tasks are not yet gone.
    (Stage.STOPPED, Event.BECAME_READY): Stage.STOPPED,
}


class IllegalTransitionError(RuntimeError):
    """An event came that the table does not allow: a bug of ours."""


class Lifecycle:
    """Holds the stage of one process and answers `/healthz` and `/readyz` from it."""

    def __init__(self, *, on_change: Callable[[Stage], None] = lambda _stage: None) -> None:
        self._stage = Stage.STARTING
        self._waiting_for = "start"
        self._on_change = on_change

    @property
    def stage(self) -> Stage:
        """The present stage."""
        return self._stage

    def handle(self, event: Event) -> Stage:
        """Move on and return the new stage; raises IllegalTransitionError where the table has no entry."""
        following = TRANSITIONS.get((self._stage, event))
        if following is None:
            raise IllegalTransitionError(f"{event} is not possible while {self._stage}")
        if following is not self._stage:
            self._stage = following
            self._on_change(following)
        return following

    def waits_for(self, what: str) -> None:
        """Name what must happen before the process is ready; shown by `/readyz`."""
        self._waiting_for = what

    def health(self) -> Health:
        """Healthy until stopped: a process that starts or drains must not be killed for it."""
        return Health(ok=self._stage is not Stage.STOPPED, detail=self._stage)

    def readiness(self) -> Health:
        """Ready only in READY; before it the detail names what is waited for."""
        if self._stage is Stage.STARTING:
            return Health(ok=False, detail=f"waiting for {self._waiting_for}")
        return Health(ok=self._stage is Stage.READY, detail=self._stage)
