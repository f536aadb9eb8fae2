"""Why an update of the weights failed, as the label of a metric. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from tetrad_rollout.engine.errors import DigestMismatchError as EngineDigestMismatchError
from tetrad_rollout.engine.errors import LayoutError, ProbeFailedError
from tetrad_rollout.weights.errors import (
    FetchDeadlineError,
    SyncDeadlineError,
    TransferBrokenError,
    VersionNotOfferedError,
    VersionSupersededError,
)
from tetrad_weights import DigestMismatchError


class UpdateFailure(StrEnum):
    """Reasons."""

    NOT_OFFERED = "not_offered"
    """The broadcaster did not offer the version in time."""
    SUPERSEDED = "superseded"
    """Only newer versions are left."""
    BROKEN = "broken"
    """The transfer broke off."""
    TIMEOUT = "timeout"
    """The copy, or the whole update, took longer than it may."""
    MISMATCH = "mismatch"
    """Bytes, or the probe of what was committed, are not what they should be."""
    LAYOUT = "layout"
    """The engine's model has other tensors."""
    OTHER = "other"
    """Whatever else engine, wire or memory refused; the log says it."""


_REASONS: Final[Mapping[type[Exception], UpdateFailure]] = {
    VersionNotOfferedError: UpdateFailure.NOT_OFFERED,
    VersionSupersededError: UpdateFailure.SUPERSEDED,
    TransferBrokenError: UpdateFailure.BROKEN,
    FetchDeadlineError: UpdateFailure.TIMEOUT,
    SyncDeadlineError: UpdateFailure.TIMEOUT,
    DigestMismatchError: UpdateFailure.MISMATCH,
    EngineDigestMismatchError: UpdateFailure.MISMATCH,
    ProbeFailedError: UpdateFailure.MISMATCH,
    LayoutError: UpdateFailure.LAYOUT,
}


def failure_of(error: Exception) -> UpdateFailure:
    """Return the reason that an error stands for.

    >>> failure_of(ValueError("?"))
    <UpdateFailure.OTHER: 'other'>
    """
    return next((reason for kind, reason in _REASONS.items() if isinstance(error, kind)), UpdateFailure.OTHER)
