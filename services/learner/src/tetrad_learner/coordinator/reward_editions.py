"""Which reward replicas grade what: those of the current implementation, those that it has replaced, and the rest.

Pure. New groups open on the current edition; a group that is pinned to a grader finishes on it for as long as somebody
offers it; a replica that stands by is shown to nobody. An edition takes over once one of its replicas is there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tetrad_config.reward_record import FIRST, Edition, RewardRecord
from tetrad_wire.ids import Incarnation, Token
from tetrad_wire.messages.membership import Hello, RouteUse


class Standing(StrEnum):
    """What a reward replica is to the run."""

    CURRENT = "current"
    RETIRING = "retiring"
    """Another edition has taken its place; it finishes the groups that are pinned to it."""
    STANDING_BY = "standing_by"
    """Its edition is not current, and was not."""


@dataclass(slots=True)
class RewardEditions:
    """The editions of a run, and which of their replicas may go."""

    current: Edition = FIRST
    wanted: Edition | None = None
    _served: set[Incarnation] = field(default_factory=set)
    """Process starts that were current when another edition took over."""
    _last_leases: dict[Incarnation, frozenset[Token]] = field(default_factory=dict)
    """Of each retiring replica: the leases held when it was replaced, which may still open episodes on it."""
    dismissed: set[Incarnation] = field(default_factory=set)
    """Replicas that no group needs any more: they are told to leave."""

    def follow(self, record: RewardRecord | None) -> None:
        """Take in what the run's folder says; one that has taken over is not given up for the one before it."""
        record = record or RewardRecord()
        if record.wanted is None or record.wanted != self.current:
            self.current = record.current
        self.wanted = record.wanted if record.wanted != self.current else None

    def take_over(self, replicas: Sequence[Hello], *, willing: Sequence[Hello]) -> bool:
        """Make the wanted edition current if a willing replica belongs to it; return whether that was done."""
        wanted = self.wanted
        if wanted is None or not any(_belongs(hello, wanted) for hello in willing):
            return False
        self._served.update(hello.incarnation for hello in replicas if _belongs(hello, self.current))
        self.current, self.wanted = wanted, None
        return True

    def standing(self, hello: Hello) -> Standing:
        """What this replica is to the run."""
        if _belongs(hello, self.current):
            return Standing.CURRENT
        if self.wanted is not None and _belongs(hello, self.wanted):
            return Standing.STANDING_BY
        is_older = hello.reward is not None and 0 < hello.reward.edition < self.current.number
        return Standing.RETIRING if is_older or hello.incarnation in self._served else Standing.STANDING_BY

    def use(self, hello: Hello, *, is_draining: bool) -> RouteUse | None:
        """What may be opened on this replica; None hides it from rollouts."""
        match self.standing(hello):
            case Standing.STANDING_BY:
                return None
            case _ if is_draining:
                return RouteUse.CLOSING
            case Standing.CURRENT:
                return RouteUse.OPEN
            case Standing.RETIRING:
                return RouteUse.PINNED

    def dismiss(self, replicas: Iterable[Hello], *, leases: Iterable[Token], pinned: Iterable[str]) -> list[Hello]:
        """Dismiss the retiring replicas that nobody needs any more; return those that were not dismissed before.

        `leases` are held now. `pinned` are the graders of groups that have samples and miss some: such a group may be
        leased again, and must then find its grader.
        """
        held, needed = frozenset(leases), frozenset(pinned)
        free = []
        for hello in replicas:
            if self.standing(hello) is not Standing.RETIRING:
                self._last_leases.pop(hello.incarnation, None)
                continue
            last = self._last_leases.setdefault(hello.incarnation, held)
            if hello.incarnation not in self.dismissed and not last & held and not needed & _graders(hello):
                free.append(hello)
        self.dismissed.update(hello.incarnation for hello in free)
        return free


def _belongs(hello: Hello, edition: Edition) -> bool:
    number = hello.reward.edition if hello.reward is not None else 0
    return edition.includes(edition=number, endpoint=hello.endpoint)


def _graders(hello: Hello) -> frozenset[str]:
    environments = hello.reward.environments if hello.reward is not None else ()
    return frozenset(offer.grader_version for offer in environments)
