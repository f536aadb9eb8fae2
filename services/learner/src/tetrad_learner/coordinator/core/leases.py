"""Leases: who may produce which group, renewed by progress, ended by silence.

A lease is a matter of ownership and cancellation only: what comes late is judged by its slot.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tetrad_learner.coordinator.core.facts import LeaseBegun, LeaseOver
from tetrad_learner.coordinator.core.groups import Group
from tetrad_learner.coordinator.core.keys import GroupKey
from tetrad_learner.coordinator.core.outcome import Outcome
from tetrad_learner.coordinator.core.tables import LEASE, LeaseState, follow
from tetrad_wire.ids import Incarnation, PolicyVersion, Token
from tetrad_wire.messages.leases import Lane
from tetrad_wire.messages.membership import Grading

# Tokens rise strictly over restarts: the epoch is their high half.
_TOKENS_PER_EPOCH = 1 << 32


@dataclass(slots=True)
class Lease:
    """One group on one engine incarnation."""

    token: Token
    key: GroupKey
    engine: Incarnation
    version: PolicyVersion
    granted_at: float
    progressed_at: float
    progress: int = -1
    grading: Grading | None = None
    """What of it is with the reward service, by the engine's last word."""


@dataclass(slots=True)
class LeaseBook:
    """The held leases."""

    out: Outcome
    epoch: int
    leases: dict[Token, Lease] = field(default_factory=dict)
    num_minted: int = 0

    def grant(self, group: Group, *, engine: Incarnation, version: PolicyVersion, now: float) -> Lease:
        """Make `engine` the owner of `group`."""
        self.num_minted += 1
        token = Token(self.epoch * _TOKENS_PER_EPOCH + self.num_minted)
        lease = Lease(token, group.key, engine, version, now, now)
        self.leases[token] = lease
        if group.key.lane is Lane.TRAIN:
            self.out.record(
                LeaseBegun(
                    token=token,
                    draw=group.key.draw,
                    engine=engine,
                    version=version,
                    grader_version=group.grader_version,
                )
            )
        return lease

    def renew(self, token: Token, progress: int, now: float) -> None:
        """Count progress; a repeated number renews nothing."""
        lease = self.leases.get(token)
        if lease is not None and progress > lease.progress:
            lease.progress, lease.progressed_at = progress, now

    def note_grading(self, tokens: Iterable[Token], grading: Mapping[Token, Grading]) -> None:
        """An engine says which of its leases wait for grades."""
        for token in tokens:
            if (lease := self.leases.get(token)) is not None:
                lease.grading = grading.get(token)

    def note_sample(self, token: Token, now: float) -> None:
        """An accepted sample is progress, whatever the engine counts."""
        lease = self.leases.get(token)
        if lease is not None:
            lease.progressed_at = now

    def end(self, token: Token, state: LeaseState, reason: str = "") -> Lease | None:
        """End a held lease; None if it ended before."""
        lease = self.leases.pop(token, None)
        if lease is not None:
            follow(LEASE, LeaseState.HELD, state)
            if lease.key.lane is Lane.TRAIN:
                self.out.record(LeaseOver(token=token, state=state, reason=reason))
        return lease

    def of_engine(self, engine: Incarnation) -> list[Lease]:
        """What an engine holds."""
        return [lease for lease in self.leases.values() if lease.engine == engine]

    def ended(self, tokens: Iterable[Token], *, engine: Incarnation) -> Iterator[Token]:
        """Which of these an engine does not hold any more, or never held."""
        for token in tokens:
            lease = self.leases.get(token)
            if lease is None or lease.engine != engine:
                yield token

    def expired(self, now: float, *, progress_timeout_s: float, hard_timeout_s: float) -> list[Lease]:
        """Leases without progress for too long, or simply too old."""
        return [
            lease
            for lease in self.leases.values()
            if now - lease.progressed_at > progress_timeout_s or now - lease.granted_at > hard_timeout_s
        ]

    def extend(self, seconds: float) -> None:
        """Forgive a gap that was ours."""
        for lease in self.leases.values():
            lease.granted_at += seconds
            lease.progressed_at += seconds
