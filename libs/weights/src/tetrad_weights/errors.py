"""Errors of weights; the type says what to do about it.

WeightsError
├── ManifestError             the description contradicts itself: refuse it
├── DigestMismatchError       bytes are not what the manifest says: never load them
├── TransportUnusableError    a segment cannot be reached, or is not the one that was promised: ask again
│   └── GroupUnusableError    there can be no process group: the sides differ, or memory is short
├── GroupBrokenError          a process group died or was late: make a new one
├── ChunkOrderError           bytes came twice, too early or too late: a bug of ours
├── SegmentAllocationError    the machine has no room for a segment
├── SegmentsBusyError         every segment is being read: wait, or find the reader that hangs
└── CopyStoppedError          the caller asked the copy to stop
"""

from collections.abc import Sequence


class WeightsError(Exception):
    """Something about weights in transit went wrong."""


class ManifestError(WeightsError, ValueError):
    """A manifest contradicts itself."""


class DigestMismatchError(WeightsError):
    """The bytes of one tensor are not those that the manifest names."""

    def __init__(self, *, tensor: str, expected: str, actual: str) -> None:
        super().__init__(f"tensor {tensor} has digest {actual}; its manifest says {expected}")
        self.tensor, self.expected, self.actual = tensor, expected, actual


class TransportUnusableError(WeightsError):
    """A shared-memory segment cannot be used from here."""

    def __init__(self, *, segment: str, reason: str) -> None:
        super().__init__(f"segment {segment[:128]!r} is unusable: {reason}")
        self.segment, self.reason = segment, reason


class GroupUnusableError(TransportUnusableError):
    """No process group can bring the weights from this peer."""

    def __init__(self, *, peer: str, reason: str) -> None:
        WeightsError.__init__(self, f"no process group with {peer}: {reason}")
        self.segment, self.reason, self.peer = "", reason, peer


class GroupBrokenError(WeightsError):
    """A process group is of no use any more; its processes are killed, and a new one may work."""

    def __init__(self, *, peer: str, at: str, seconds: float, reason: str) -> None:
        super().__init__(f"the process group with {peer} broke in {at} after {seconds:.1f} s: {reason}")
        self.peer, self.at, self.seconds, self.reason = peer, at, seconds, reason


class ChunkOrderError(WeightsError):
    """Bytes were written elsewhere than where the last ones ended."""

    def __init__(self, *, offset: int, expected: int, num_bytes: int) -> None:
        super().__init__(f"a chunk was written at {offset}; the next byte of {num_bytes} is {expected}")
        self.offset, self.expected, self.num_bytes = offset, expected, num_bytes


class SegmentAllocationError(WeightsError):
    """There is no room for a segment."""

    def __init__(self, *, needed_bytes: int, free_bytes: int, directory: str) -> None:
        super().__init__(
            f"a segment needs {needed_bytes} bytes in {directory}, which has {free_bytes} free; "
            f"enlarge it (in a container: --shm-size) or stop what fills it"
        )
        self.needed_bytes, self.free_bytes = needed_bytes, free_bytes


class SegmentsBusyError(WeightsError):
    """Every segment that may exist is in use."""

    def __init__(self, *, busy: Sequence[str], limit: int) -> None:
        super().__init__(f"all {limit} segments are in use: {', '.join(busy)}")
        self.busy, self.limit = tuple(busy), limit


class CopyStoppedError(WeightsError):
    """The caller asked the copy to stop before it was complete."""
