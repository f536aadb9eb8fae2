"""The weight states of one engine, as a table (PROTOCOL §6). Pure: owns no buffer, no thread, no clock.

`step` takes what is known and an event and answers what is known then. `live_version` is what the engine
computes with; it is *certified* only in between a passed probe and the next commit, wake or quarantine.
Staging a newer version beside certified weights does not un-certify them; beside committed ones it takes the place of
their probe: only what is committed next can be certified. What overwrites the live weights themselves un-certifies them
first, and leaves nothing to go back to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from tetrad_rollout.engine.errors import WeightStateError
from tetrad_wire.ids import PolicyVersion

UNVERSIONED: Final = PolicyVersion(-1)
"""Version of the weights that an engine starts with, before any commit: never certified."""


class WeightState(StrEnum):
    """How far the newest version has come."""

    EMPTY = "empty"
    """No version of the run has come yet."""
    STAGING = "staging"
    """A version is being copied beside the live weights; the engine serves."""
    STAGED = "staged"
    """It is whole and its digest is verified."""
    PAUSED = "paused"
    """No token is drawn, so that it can be committed."""
    COMMITTED = "committed"
    """The engine has switched to it."""
    REPLACING = "replacing"
    """It is being written over the live weights, the engine paused: nothing serves until a whole version is proven."""
    CERTIFIED = "certified"
    """A probe gave finite numbers: the coordinator may lease."""
    QUARANTINED = "quarantined"
    """Something failed: nothing is certified until it is seeded again."""


class WeightEvent(StrEnum):
    """What happens to the weights of an engine."""

    BEGIN_STAGE = "begin_stage"
    BEGIN_IN_PLACE = "begin_in_place"
    VERIFY = "verify"
    PAUSE = "pause"
    RESUME = "resume"
    COMMIT = "commit"
    CERTIFY = "certify"
    WAKE = "wake"
    FAIL = "fail"


_S, _E = WeightState, WeightEvent

TRANSITIONS: Final[Mapping[tuple[WeightState, WeightEvent], WeightState]] = {
    (_S.EMPTY, _E.BEGIN_STAGE): _S.STAGING,
    (_S.EMPTY, _E.BEGIN_IN_PLACE): _S.REPLACING,
    (_S.EMPTY, _E.WAKE): _S.EMPTY,
    (_S.EMPTY, _E.FAIL): _S.QUARANTINED,
    (_S.STAGING, _E.BEGIN_STAGE): _S.STAGING,  # a newer version supersedes the one half received
    (_S.STAGING, _E.BEGIN_IN_PLACE): _S.REPLACING,
    (_S.STAGING, _E.VERIFY): _S.STAGED,
    (_S.STAGING, _E.WAKE): _S.STAGING,
    (_S.STAGING, _E.FAIL): _S.QUARANTINED,
    (_S.STAGED, _E.BEGIN_STAGE): _S.STAGING,
    (_S.STAGED, _E.BEGIN_IN_PLACE): _S.REPLACING,
    (_S.STAGED, _E.PAUSE): _S.PAUSED,
    (_S.STAGED, _E.WAKE): _S.STAGED,
    (_S.STAGED, _E.FAIL): _S.QUARANTINED,
    (_S.PAUSED, _E.BEGIN_STAGE): _S.STAGING,
    (_S.PAUSED, _E.BEGIN_IN_PLACE): _S.REPLACING,
    (_S.PAUSED, _E.RESUME): _S.STAGED,  # the commit was called off; the old weights serve on
    (_S.PAUSED, _E.COMMIT): _S.COMMITTED,
    (_S.PAUSED, _E.WAKE): _S.PAUSED,
    (_S.PAUSED, _E.FAIL): _S.QUARANTINED,
    (_S.COMMITTED, _E.BEGIN_STAGE): _S.STAGING,  # what slept is seeded anew, whether it was proven or not
    (_S.COMMITTED, _E.BEGIN_IN_PLACE): _S.REPLACING,
    (_S.COMMITTED, _E.CERTIFY): _S.CERTIFIED,
    (_S.COMMITTED, _E.WAKE): _S.COMMITTED,
    (_S.COMMITTED, _E.FAIL): _S.QUARANTINED,
    (_S.REPLACING, _E.BEGIN_STAGE): _S.STAGING,  # by now there is room
    (_S.REPLACING, _E.BEGIN_IN_PLACE): _S.REPLACING,
    (_S.REPLACING, _E.VERIFY): _S.PAUSED,
    (_S.REPLACING, _E.WAKE): _S.REPLACING,
    (_S.REPLACING, _E.FAIL): _S.QUARANTINED,
    (_S.CERTIFIED, _E.BEGIN_STAGE): _S.STAGING,
    (_S.CERTIFIED, _E.BEGIN_IN_PLACE): _S.REPLACING,
    (_S.CERTIFIED, _E.CERTIFY): _S.CERTIFIED,  # a probe may be repeated at any time
    (_S.CERTIFIED, _E.WAKE): _S.COMMITTED,  # what slept must be probed again
    (_S.CERTIFIED, _E.FAIL): _S.QUARANTINED,
    (_S.QUARANTINED, _E.BEGIN_STAGE): _S.STAGING,  # the only way back: be seeded again
    (_S.QUARANTINED, _E.BEGIN_IN_PLACE): _S.REPLACING,  # likewise
    (_S.QUARANTINED, _E.WAKE): _S.QUARANTINED,
    (_S.QUARANTINED, _E.FAIL): _S.QUARANTINED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightStatus:
    """What is known of an engine's weights."""

    state: WeightState = WeightState.EMPTY
    staged_version: PolicyVersion = UNVERSIONED
    """Version in the stage buffer, whole or not; UNVERSIONED when there is none."""
    staged_digest: str = ""
    """Set once the stage buffer has been verified against it."""
    live_version: PolicyVersion = UNVERSIONED
    """Version that the engine computes with."""
    live_digest: str = ""
    is_certified: bool = False
    """The live version has passed its probe, and nothing has cast doubt on it since."""


def next_state(state: WeightState, event: WeightEvent) -> WeightState:
    """The state after `event`.

    >>> next_state(WeightState.STAGED, WeightEvent.PAUSE)
    <WeightState.PAUSED: 'paused'>
    """
    if (state, event) not in TRANSITIONS:
        legal = ", ".join(sorted(event for known, event in TRANSITIONS if known is state))
        raise WeightStateError(f"{event} is illegal while the weights are {state}; legal now: {legal}")
    return TRANSITIONS[state, event]


def step(
    status: WeightStatus, event: WeightEvent, *, version: PolicyVersion = UNVERSIONED, digest: str = ""
) -> WeightStatus:
    """The status after `event`; `version` is read at BEGIN_STAGE and BEGIN_IN_PLACE, `digest` at VERIFY.

    Raises:
        WeightStateError: the table has no such transition; the status is as it was.
    """
    after = replace(status, state=next_state(status.state, event))
    match event:
        case WeightEvent.BEGIN_STAGE:
            return replace(after, staged_version=version, staged_digest="")
        case WeightEvent.BEGIN_IN_PLACE:
            # From the first byte on nobody knows what is live.
            return replace(WeightStatus(state=after.state), staged_version=version)
        case WeightEvent.VERIFY:
            return replace(after, staged_digest=digest)
        case WeightEvent.COMMIT:
            return replace(
                after,
                live_version=status.staged_version,
                live_digest=status.staged_digest,
                staged_version=UNVERSIONED,
                staged_digest="",
                is_certified=False,
            )
        case WeightEvent.CERTIFY:
            return replace(after, is_certified=True)
        case WeightEvent.WAKE | WeightEvent.FAIL:
            return replace(after, is_certified=False)
        case WeightEvent.PAUSE | WeightEvent.RESUME:
            return after
