"""The segments of one exporter: two in turn, more only while somebody still reads an older one.

A segment is written again only when no living process reads it; until then a fresh one takes its place, up to a
bound. Must not know who the readers are: the kernel knows whether there are any, the caller which it still counts on.
Blocking where it allocates: call `take` from a thread.
"""

from collections.abc import Collection
from typing import Final

from tetrad_weights.digest import Bytes
from tetrad_weights.errors import SegmentsBusyError, TransportUnusableError
from tetrad_weights.segments import Segment, segment_name
from tetrad_wire.messages.weights import SegmentHandle

DEPTH: Final = 2
"""While one version is read, the next is written."""
LIMIT: Final = 4
"""Two more than needed: two slow readers may each hold on to one before versions are refused."""


class SegmentRing:
    """Hands out segments to write; owns and closes all of them."""

    def __init__(self, *, run: str, incarnation: str, depth: int = DEPTH, limit: int = LIMIT) -> None:
        if not DEPTH <= depth <= limit:
            raise ValueError(f"a ring needs {DEPTH} <= depth <= limit; got {depth} and {limit}")
        self.run = run
        """Named in segments from now on; a service learns its run's id only when it has registered."""
        self._incarnation = incarnation
        self._depth = depth
        self._limit = limit
        self._segments: list[Segment] = []
        self._num_made = 0

    def __len__(self) -> int:
        """Segments that exist now."""
        return len(self._segments)

    @property
    def names(self) -> set[str]:
        """Of the segments that exist now."""
        return {segment.name for segment in self._segments}

    @property
    def num_bytes(self) -> int:
        """Payload bytes of all segments."""
        return sum(segment.num_bytes for segment in self._segments)

    def take(self, num_bytes: int, *, pinned: Collection[str]) -> Segment:
        """Return a segment to write, locked; the least recently taken one that is free, or a fresh one.

        `pinned` names those that must stay as they are although nobody may be reading them this moment.
        Raises SegmentsBusyError at the bound and SegmentAllocationError where there is no memory.
        """
        for segment in list(self._segments):
            if segment.name in pinned or not segment.begin_writing():
                continue
            if segment.num_bytes == num_bytes:
                self._segments.remove(segment)
                self._segments.append(segment)
                return segment
            # Of another layout: its memory is worth more than its place.
            self._drop(segment)
        return self._make(num_bytes)

    def lend(self, handle: SegmentHandle) -> Bytes:
        """Return the bytes that were promised by `handle`, read-only, like `Segment.lend`; from any thread.

        Raises TransportUnusableError if they are not here any more.
        """
        for segment in tuple(self._segments):
            if segment.name == handle.name:
                lent = segment.lend()
                # Only now: nobody can write it any more.
                if segment.handle == handle:
                    return lent
        raise TransportUnusableError(segment=handle.name, reason="it has been written anew since it was promised")

    def trim(self, *, pinned: Collection[str]) -> None:
        """Close what is there beyond the depth and free by now."""
        for segment in list(self._segments):
            if len(self._segments) <= self._depth:
                return
            if segment.name not in pinned and not segment.is_being_read():
                self._drop(segment)

    def close(self) -> None:
        """Remove every segment; idempotent."""
        while self._segments:
            self._drop(self._segments[0])

    def _make(self, num_bytes: int) -> Segment:
        if len(self._segments) >= self._limit:
            raise SegmentsBusyError(busy=[segment.name for segment in self._segments], limit=self._limit)
        name = segment_name(run=self.run, incarnation=self._incarnation, ordinal=self._num_made)
        segment = Segment(name, num_bytes)
        self._num_made += 1
        self._segments.append(segment)
        return segment

    def _drop(self, segment: Segment) -> None:
        self._segments.remove(segment)
        segment.close()
