"""Errors of fetching a version.

FetchError
├── VersionNotOfferedError    the broadcaster did not offer it in time: ask again
├── VersionSupersededError    only newer versions are left: follow the newest desired state
├── TransferBrokenError       the broadcaster went, or ended the transfer before the last byte: ask again
├── FetchDeadlineError        the copy took longer than the offer stood: the replica is quarantined
└── SyncDeadlineError         the whole update took longer than it may: the replica is quarantined

What is wrong with the bytes themselves is a `tetrad_weights` error: DigestMismatchError, TransportUnusableError.
"""

from collections.abc import Sequence


class FetchError(Exception):
    """A version could not be fetched."""


class VersionNotOfferedError(FetchError):
    """The broadcaster did not offer the version in time."""

    def __init__(self, *, version: int, limit_s: float, reason: str) -> None:
        super().__init__(f"version {version} was not offered within {limit_s:g} s: {reason}")
        self.version, self.limit_s, self.reason = version, limit_s, reason


class VersionSupersededError(FetchError):
    """The broadcaster has moved on and will never offer the version again."""

    def __init__(self, *, version: int, holds: Sequence[int]) -> None:
        super().__init__(f"version {version} is gone; the broadcaster holds {', '.join(map(str, holds))}")
        self.version, self.holds = version, tuple(holds)


class TransferBrokenError(FetchError):
    """The broadcaster went, or no longer owes us what it offered."""

    def __init__(self, *, version: int, reason: str) -> None:
        super().__init__(f"the transfer of version {version} broke off: {reason}")
        self.version, self.reason = version, reason


class FetchDeadlineError(FetchError):
    """The offer's deadline came before the copy was complete."""

    def __init__(self, *, version: int, limit_s: float, at: str) -> None:
        super().__init__(f"version {version} was not copied within the {limit_s:g} s of its offer, at {at}")
        self.version, self.limit_s, self.at = version, limit_s, at


class SyncDeadlineError(FetchError):
    """An update took longer than `generator.weight_sync_timeout`."""

    def __init__(self, *, version: int, limit_s: float, replica: str, phase: str, seconds: float, at: str) -> None:
        super().__init__(
            f"{replica} had not taken version {version} over within generator.weight_sync_timeout={limit_s:g} s: "
            f"{phase} for {seconds:.1f} s{f', {at}' if at else ''}; if that is slow and not stuck, raise the timeout"
        )
        self.version, self.limit_s, self.replica = version, limit_s, replica
        self.phase, self.seconds, self.at = phase, seconds, at
