"""Who may read which segment, and until when. Pure: owns no segment, no socket and no clock.

A right ends by release, by the death of its holder or by its deadline. The end of a right by deadline says nothing
about the memory: whether it may be written again is for the segment's lock to say.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from tetrad_weights.owners import Process
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.weights import WeightTransport


@dataclass(frozen=True, slots=True)
class Reader:
    """Who asks for weights."""

    incarnation: Incarnation
    replica: str
    """Its name, for people."""
    process: Process | None
    """None where it did not say, so that its death cannot be seen."""

    def is_dead(self, is_alive: Callable[[Process], bool]) -> bool:
        """Whether its process is known to be gone."""
        return self.process is not None and not is_alive(self.process)


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One offer that was made."""

    reader: Reader
    version: PolicyVersion
    digest: str
    """Manifest digest of what may be read."""
    num_bytes: int
    segment: str
    """Name of the segment that may be read."""
    transport: WeightTransport = WeightTransport.SHARED_MEMORY
    """By which its holder reads."""
    granted_at: float
    """Seconds on the broadcaster's clock."""
    deadline: float
    """Seconds on the broadcaster's clock."""
    silent_after: float = math.inf
    """Seconds on the broadcaster's clock at which a holder that must ask for each chunk is given up."""

    def is_over(self, now: float) -> bool:
        """Whether its deadline has come, or its holder has been silent for too long."""
        return min(self.deadline, self.silent_after) <= now


class ReadingRights:
    """At most one right for each incarnation: a replica reads one version at a time."""

    def __init__(self) -> None:
        self._rights: dict[Incarnation, Right] = {}

    def __len__(self) -> int:
        """Rights that stand."""
        return len(self._rights)

    def grant(self, right: Right) -> None:
        """Let an incarnation read; whatever it was granted before is over."""
        self._rights[right.reader.incarnation] = right

    def release(self, incarnation: Incarnation, version: PolicyVersion) -> Right | None:
        """End a right at its holder's word; None if it does not stand (any more)."""
        right = self._rights.get(incarnation)
        if right is None or right.version != version:
            return None
        return self._rights.pop(incarnation)

    def heard(self, incarnation: Incarnation, version: PolicyVersion, *, now: float, silence_s: float) -> Right | None:
        """Note that its holder asks for chunks, and return the right; None if no right to chunks stands (any more)."""
        right = self._rights.get(incarnation)
        if right is None or right.version != version or right.transport is not WeightTransport.SOCKET:
            return None
        self._rights[incarnation] = replace(right, silent_after=now + silence_s)
        return right

    def expire(self, now: float) -> list[Right]:
        """End the rights whose deadline has come or whose holder is silent, and return them."""
        return self._end(lambda right: right.is_over(now))

    def end_dead(self, is_alive: Callable[[Process], bool]) -> list[Right]:
        """End the rights of dead processes, and return them."""
        return self._end(lambda right: right.reader.is_dead(is_alive))

    def segments(self) -> set[str]:
        """Names of the segments that somebody may read."""
        return {right.segment for right in self._rights.values()}

    def readers(self) -> list[str]:
        """Names of the replicas that may read."""
        return sorted(right.reader.replica for right in self._rights.values())

    def _end(self, is_over: Callable[[Right], bool]) -> list[Right]:
        ended = [right for right in self._rights.values() if is_over(right)]
        for right in ended:
            del self._rights[right.reader.incarnation]
        return ended
