"""Serves versions in chunks to engines that do not share our memory.

Keeps no copy and no queue: a chunk is a view of the segment, lent to the socket until it has left. The engine sets the
pace by asking; one that asks faster than its link carries is not answered. Must not know any socket.
"""

import weakref
from typing import Final

from tetrad_broadcaster.metrics import BroadcasterMetrics, ChunkOutcome
from tetrad_broadcaster.rights import ReadingRights, Right
from tetrad_broadcaster.shelf import Shelf
from tetrad_weights.errors import TransportUnusableError
from tetrad_weights.ring import SegmentRing
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.weights import PullChunk, VersionChunk, VersionUnavailable

# An engine that has not asked for a chunk this long is dead or hangs; it would have repeated its question by then.
SILENCE_S: Final = 15.0
# Several times what an engine of ours asks for at once: 64 MiB that libzmq may hold on to for one engine.
MAX_LENT: Final = 16

_Lent = tuple[Incarnation, PolicyVersion, int]


class ChunkDesk:
    """Answers each request for a chunk, if the engine has a right to it."""

    def __init__(
        self, shelf: Shelf, ring: SegmentRing, rights: ReadingRights, *, metrics: BroadcasterMetrics, timeout_s: float
    ) -> None:
        self._shelf = shelf
        self._ring = ring
        self._rights = rights
        self._metrics = metrics
        self._silence_s = min(SILENCE_S, timeout_s)
        # Chunks that libzmq has not let go of; taken out by whichever thread drops the last view of one.
        self._lent: set[_Lent] = set()

    @property
    def silence_s(self) -> float:
        """Seconds without a question after which a right ends."""
        return self._silence_s

    def answer(self, pull: PullChunk, *, now: float) -> VersionChunk | VersionUnavailable | None:
        """Return the chunk or why there is none; None where the same or enough is on its way to this engine."""
        # Also where nothing is answered: an engine on a slow link is not a silent one.
        right = self._rights.heard(pull.incarnation, pull.version, now=now, silence_s=self._silence_s)
        if self._is_on_its_way(pull):
            self._metrics.chunk(ChunkOutcome.HELD_BACK)
            return None
        try:
            chunk = self._chunk(pull, right)
        except (TransportUnusableError, _NotOwedError) as error:
            self._metrics.chunk(ChunkOutcome.REFUSED)
            return VersionUnavailable(version=pull.version, holds=self._shelf.holds, reason=str(error))
        self._metrics.chunk(ChunkOutcome.SENT)
        return chunk

    def _is_on_its_way(self, pull: PullChunk) -> bool:
        # As a tuple, made in one go: another thread may be taking something out.
        lent = tuple(self._lent)
        return _key(pull) in lent or sum(key[0] == pull.incarnation for key in lent) >= MAX_LENT

    def _chunk(self, pull: PullChunk, right: Right | None) -> VersionChunk:
        if right is None:
            raise _NotOwedError("it was not offered to this engine by socket, or the offer is over")
        held = self._shelf.get(pull.version)
        if held is None or held.segment is None:
            raise _NotOwedError("it was superseded while it was being sent")
        end = pull.offset + pull.num_bytes
        if end > held.manifest.num_bytes:
            raise _NotOwedError(f"it has {held.manifest.num_bytes} bytes; byte {end} was asked for")
        view = self._ring.lend(held.segment)
        self._lent.add(_key(pull))
        weakref.finalize(view, self._lent.discard, _key(pull))
        return VersionChunk(version=pull.version, offset=pull.offset, data=view[pull.offset : end])


def _key(pull: PullChunk) -> _Lent:
    return (pull.incarnation, pull.version, pull.offset)


class _NotOwedError(Exception):
    """The engine has no right to the bytes that it asked for."""
