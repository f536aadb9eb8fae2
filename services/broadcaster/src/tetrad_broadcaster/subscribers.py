"""What is known of each engine that ever asked for weights. Pure; a view for people, nothing is decided by it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from tetrad_broadcaster.rights import Reader
from tetrad_weights.owners import Process
from tetrad_wire.ids import Incarnation, PolicyVersion

# Far above any number of replicas; a bound, because incarnations of peers that never said their pid pile up.
MAX_SUBSCRIBERS: Final = 4096


class Standing(StrEnum):
    """How an engine stands to the newest version."""

    CURRENT = "current"
    """It has read the newest version."""
    BEHIND = "behind"
    """It has not read it yet."""
    QUARANTINED = "quarantined"
    """It missed the deadline of its last reading and has not asked again since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """One incarnation of one replica."""

    reader: Reader
    version: PolicyVersion | None = None
    """The last that it read in full."""
    is_quarantined: bool = False


class Subscribers:
    """Follows the readings of each incarnation."""

    def __init__(self) -> None:
        self._subscribers: dict[Incarnation, Subscriber] = {}

    def asked(self, reader: Reader) -> None:
        """It asks for a version: it lives and is let in again."""
        known = self._subscribers.pop(reader.incarnation, None)
        self._subscribers[reader.incarnation] = Subscriber(reader=reader, version=known.version if known else None)
        if len(self._subscribers) > MAX_SUBSCRIBERS:
            # The one that has not asked for the longest time.
            del self._subscribers[next(iter(self._subscribers))]

    def read(self, reader: Reader, version: PolicyVersion) -> None:
        """It has read and verified a version."""
        if reader.incarnation in self._subscribers:
            self._subscribers[reader.incarnation] = Subscriber(reader=reader, version=version)

    def quarantine(self, reader: Reader) -> None:
        """It missed its deadline."""
        known = self._subscribers.get(reader.incarnation)
        if known is not None:
            self._subscribers[reader.incarnation] = replace(known, is_quarantined=True)

    def forget_dead(self, is_alive: Callable[[Process], bool]) -> None:
        """Drop those whose process is gone."""
        self._subscribers = {
            incarnation: subscriber
            for incarnation, subscriber in self._subscribers.items()
            if not subscriber.reader.is_dead(is_alive)
        }

    def quarantined_replicas(self) -> list[str]:
        """Names of the replicas that missed their deadline and have not asked again."""
        return sorted(
            subscriber.reader.replica for subscriber in self._subscribers.values() if subscriber.is_quarantined
        )

    def standings(self, newest: PolicyVersion | None) -> Counter[Standing]:
        """Count engines by standing."""
        return Counter(_standing(subscriber, newest) for subscriber in self._subscribers.values())

    def lags(self, newest: PolicyVersion | None) -> dict[str, int]:
        """Versions that each replica is behind; one that never read any is behind by all."""
        return {
            subscriber.reader.replica: (newest or 0) - (subscriber.version or 0)
            for subscriber in self._subscribers.values()
        }


def _standing(subscriber: Subscriber, newest: PolicyVersion | None) -> Standing:
    if subscriber.is_quarantined:
        return Standing.QUARANTINED
    return Standing.CURRENT if subscriber.version == newest else Standing.BEHIND
