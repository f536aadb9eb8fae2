"""What a service says to its sender, receiver or holder of weights, and what that answers: lines of JSON.

Such a child has a GPU's context and a communicator, and may be killed at any moment; its service has neither.
"""

from enum import StrEnum
from typing import Final

import msgspec

from tetrad_wire.messages.groups import GroupSide
from tetrad_wire.messages.weights import DeviceHandle, SegmentHandle


class Phase(StrEnum):
    """What a child is about; a failure names it."""

    START = "start"
    """Loading torch, finding its device."""
    LISTEN = "listen"
    """Opening the store of the rendezvous."""
    CONNECT = "connect"
    """Reaching the sender's store over TCP."""
    RENDEZVOUS = "rendezvous"
    """Making the group."""
    TEST = "test"
    """A small collective each way."""
    MEMORY = "memory"
    """Allocating or mapping the bytes of a version."""
    BUCKET = "bucket"
    """A collective of a version."""


class Listen(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Open a store for a group; answered by Listening."""

    host: str
    timeout_s: float


class Form(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Make the group and prove it; answered by Formed."""

    group: str
    host: str
    port: int
    bucket_bytes: int
    test_bytes: int
    timeout_s: float
    """Of each wait in it."""


class Send(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Send a version out of one of two memories; answered by Moved."""

    num_bytes: int
    segment: SegmentHandle | None = None
    device: DeviceHandle | None = None


class Receive(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Receive a version; answered by Moved with a handle of where it lies."""

    num_bytes: int


class ReceivePart(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Receive the next bucket of a version, in host memory; answered by Moved with a handle of where it lies.

    For who has no room for all of it. What was received before is given up.
    """

    num_bytes: int
    """Of this bucket."""
    room_bytes: int
    """Of the memory that all buckets are received in, one after the other."""
    bucket: int
    """Counted from 1."""
    num_buckets: int


class Clone(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Take a copy of a version in a rank's memory; answered by Moved. Copies of versions not in `kept` go."""

    version: int
    device: DeviceHandle
    kept: tuple[int, ...] = ()


class Export(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Make a handle of a copy for one more process; answered by Moved."""

    version: int


class ToHost(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Write a copy into a segment that its owner keeps locked meanwhile; answered by Moved."""

    version: int
    segment: SegmentHandle


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The child is there; said once, unasked."""

    side: GroupSide


class Listening(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The store is open."""

    port: int


class Formed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The group is there and works."""

    seconds: float
    """Connecting and making it."""
    bytes_per_s: float
    """Of the test, one way."""


class Moved(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The bytes are where they should be."""

    seconds: float
    segment: SegmentHandle | None = None
    device: DeviceHandle | None = None


class At(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How far the child is; said unasked, so that whoever has to kill it knows what it hung in."""

    phase: Phase
    bucket: int = 0
    num_buckets: int = 0

    def __str__(self) -> str:
        """As in a message: `bucket 2 of 6`, `rendezvous`."""
        return f"bucket {self.bucket} of {self.num_buckets}" if self.phase is Phase.BUCKET else self.phase.value


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An order could not be obeyed."""

    at: At
    reason: str
    is_short: bool = False
    """Whether memory was short, so that another group would not help."""


Order = Listen | Form | Send | Receive | ReceivePart | Clone | Export | ToHost
Answer = Ready | Listening | Formed | Moved | At | Failed

_ENCODER: Final = msgspec.json.Encoder()
_ORDERS: Final = msgspec.json.Decoder(Order)
_ANSWERS: Final = msgspec.json.Decoder(Answer)


def line_of(said: Order | Answer) -> bytes:
    """What either end writes."""
    return _ENCODER.encode(said) + b"\n"


def order_in(line: bytes) -> Order:
    """What a child reads."""
    order: Order = _ORDERS.decode(line)
    return order


def answer_in(line: bytes) -> Answer:
    """What its service reads."""
    answer: Answer = _ANSWERS.decode(line)
    return answer
