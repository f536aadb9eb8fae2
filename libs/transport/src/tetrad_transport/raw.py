"""Frames as they are: sockets for whoever checks a peer's every byte, or sends what no peer of ours would.

Blocking and below the messages: not for services.
"""

from collections.abc import Sequence
from typing import Final

import zmq

from tetrad_transport.errors import TransportError

# Larger than what the protocol allows, so that the peer's limit is met and not ours.
SEND_DEADLINE_MS: Final = 5000


class RawSocket:
    """One ROUTER or DEALER with a context of its own; use `dealer` or `router`."""

    def __init__(self, kind: int) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(kind)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDTIMEO, SEND_DEADLINE_MS)

    @classmethod
    def dealer(cls, endpoint: str, *, name: str) -> "RawSocket":
        """Connect; nobody need listen yet."""
        raw = cls(zmq.DEALER)
        raw._socket.setsockopt_string(zmq.IDENTITY, name)
        raw._socket.connect(endpoint)
        return raw

    @classmethod
    def router(cls, endpoint: str) -> "RawSocket":
        """Bind; raises TransportError where it cannot be."""
        raw = cls(zmq.ROUTER)
        raw._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        try:
            raw._socket.bind(endpoint)
        except zmq.ZMQError as error:
            raw.close()
            raise TransportError(f"cannot bind {endpoint}: {error.strerror}") from error
        return raw

    def send(self, frames: Sequence[bytes]) -> None:
        """Send; raises TransportError where the peer has not read for 5 s."""
        try:
            self._socket.send_multipart(list(frames))
        except zmq.Again:
            raise TransportError(f"nobody reads: a message of {len(frames)} frames was not taken") from None

    def receive(self, timeout_s: float) -> list[bytes] | None:
        """Return the next message, of a ROUTER with its sender first; None where none comes in time."""
        if not self._socket.poll(max(0, round(timeout_s * 1000))):
            return None
        return self._socket.recv_multipart()

    def is_cut_by(self, frames: Sequence[bytes], *, timeout_s: float) -> bool:
        """Send and tell whether the peer then ends the connection."""
        monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        try:
            self.send(frames)
            return bool(monitor.poll(round(timeout_s * 1000)))
        finally:
            self._socket.disable_monitor()

    def close(self) -> None:
        """Close; idempotent."""
        self._context.destroy(linger=0)
