"""DEALER/ROUTER channels with an in-memory twin, and membership."""

from typing import Protocol

from tetrad_transport.carrier import PeerId
from tetrad_transport.channel import Connection, Delivery, Listener
from tetrad_transport.errors import ClosedError, DeadlineError, PeerFullError, PeerGoneError, TransportError
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
    "Transport",
    "TransportError",
    "ZmqTransport",
]


class Transport(Protocol):
    """Makes both kinds of ends; ZmqTransport and MemoryTransport do."""

    def listen(self, endpoint: str) -> Listener:
        """Bind `endpoint`."""
        ...

    def connect(self, endpoint: str, *, name: str) -> Connection:
        """Connect to `endpoint`, reconnecting by itself."""
        ...

    def close(self) -> None:
        """Close everything."""
        ...
