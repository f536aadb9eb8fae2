"""DEALER/ROUTER channels with an in-memory twin, and membership."""

from typing import Protocol

from tetrad_transport.carrier import PeerId
from tetrad_transport.channel import Connection, Delivery, Listener
from tetrad_transport.errors import (
    ClosedError,
    DeadlineError,
    PeerFullError,
    PeerGoneError,
    RefusedError,
    TransportError,
)
from tetrad_transport.keys.role import NOBODY, PublicKey
from tetrad_transport.memory import MemoryTransport
from tetrad_transport.sockets import ZmqTransport
from tetrad_transport.statistics import ChannelStatistics

__all__ = [
    "ChannelStatistics",
    "ClosedError",
    "Connection",
    "DeadlineError",
    "Delivery",
    "Listener",
    "MemoryTransport",
    "PeerFullError",
    "PeerGoneError",
    "PeerId",
    "PublicKey",
    "RefusedError",
    "Transport",
    "TransportError",
    "ZmqTransport",
]


class Transport(Protocol):
    """Makes both kinds of ends; ZmqTransport and MemoryTransport do."""

    def listen(self, endpoint: str) -> Listener:
        """Bind `endpoint`."""
        ...

    def connect(self, endpoint: str, *, name: str, server_key: PublicKey = NOBODY) -> Connection:
        """Connect to `endpoint`, reconnecting by itself; with keys, only to the holder of `server_key`."""
        ...

    def close(self) -> None:
        """Close everything."""
        ...
