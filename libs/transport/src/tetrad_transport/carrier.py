"""Moves frames and knows nothing of messages: what a socket or its in-memory twin provides."""

from collections.abc import Callable, Sequence
from typing import NewType, Protocol

from tetrad_transport.keys.role import NOBODY, PublicKey
from tetrad_wire.codec import Frame

PeerId = NewType("PeerId", bytes)


class Deliver(Protocol):
    """Takes the frames of one message, and the key of who sent it; returns whether there is room for another."""

    def __call__(self, peer: PeerId, frames: Sequence[Frame], key: PublicKey = NOBODY, /) -> bool:
        """Must not block."""
        ...


class Carrier(Protocol):
    """One end of a channel, below the messages."""

    def send(self, peer: PeerId, frames: Sequence[Frame]) -> None:
        """Hand over frames at once; raise PeerGoneError or PeerFullError."""
        ...

    def read_on(self) -> None:
        """There is room again: deliver what waits."""
        ...

    def close(self) -> None:
        """Close; idempotent."""
        ...


CarrierFactory = Callable[[Deliver], Carrier]
