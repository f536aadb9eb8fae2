"""Watches who comes to a TCP listener: bounds how many may stand at the door, and tells which handshakes failed.

libzmq bounds the time of a handshake (HANDSHAKE_IVL), not their number. A connection that was accepted a short while
ago and has sent less than a handshake needs is a stranger; of too many, those that came first are cut.
"""

import asyncio
import contextlib
import os
import socket as unix
import struct
from typing import Final

import zmq

from tetrad_transport.refusal import OnRefusal, Reason, Refusal
from tetrad_transport.socket_events import SocketEvents

MAX_STRANGERS: Final = 256
HANDSHAKE_S: Final = 5.0
# Greeting, HELLO and INITIATE of CURVE are above 500 bytes (RFC 26); a stranger has sent less.
MIN_HANDSHAKE_BYTES: Final = 500
_EVENTS: Final = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)
# struct tcp_info of Linux: tcpi_bytes_received.
_BYTES_RECEIVED: Final = struct.Struct("@128xQ")


class Doorway:
    """The door of one bound TCP socket."""

    def __init__(
        self,
        socket: "zmq.Socket[bytes]",
        endpoint: str,
        *,
        on_refusal: OnRefusal,
        max_strangers: int = MAX_STRANGERS,
    ) -> None:
        self._socket = socket
        self._endpoint = endpoint
        self._on_refusal = on_refusal
        self._max_strangers = max_strangers
        self._loop = asyncio.get_running_loop()
        self._recent: dict[int, tuple[object, float]] = {}
        self._events = SocketEvents(socket, _EVENTS, self._take)

    def close(self) -> None:
        """Stop watching; before the socket is closed."""
        self._events.close()

    def _take(self, event: int, value: int) -> None:
        if event == zmq.EVENT_ACCEPTED:
            self._accept(value)
        elif event == zmq.EVENT_DISCONNECTED:
            self._recent.pop(value, None)
        elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            self._tell(Reason.BAD_HANDSHAKE, f"protocol error {value:#x}")
        elif value == zmq.EAGAIN:
            self._tell(Reason.SLOW_HANDSHAKE, f"not done within {HANDSHAKE_S:g} s")
        else:
            self._tell(Reason.BAD_HANDSHAKE, os.strerror(value))

    def _tell(self, reason: Reason, detail: str) -> None:
        self._on_refusal(Refusal(reason=reason, endpoint=self._endpoint, detail=detail))

    def _accept(self, descriptor: int) -> None:
        now = self._loop.time()
        self._recent = {fd: who for fd, who in self._recent.items() if now - who[1] < HANDSHAKE_S}
        self._recent[descriptor] = (_peer_of(descriptor), now)
        if len(self._recent) > self._max_strangers:
            self._make_room()

    def _make_room(self) -> None:
        for descriptor, (peer, _since) in list(self._recent.items()):
            if len(self._recent) <= self._max_strangers:
                return
            del self._recent[descriptor]
            if _cut(descriptor, peer):
                self._tell(Reason.CROWDED_OUT, f"more than {self._max_strangers} at the door")


def _peer_of(descriptor: int) -> object:
    try:
        with _borrowed(descriptor) as connection:
            return connection.getpeername()
    except OSError:
        return None


def _cut(descriptor: int, peer: object) -> bool:
    """End a connection of libzmq's that is still the one that was accepted, and that has not said enough."""
    try:
        with _borrowed(descriptor) as connection:
            if peer is None or connection.getpeername() != peer or _received(connection) >= MIN_HANDSHAKE_BYTES:
                return False
            connection.shutdown(unix.SHUT_RDWR)
    except OSError:
        return False  # it has gone by itself
    return True


def _borrowed(descriptor: int) -> "contextlib.closing[unix.socket]":
    # A duplicate: closing it leaves libzmq's own open.
    return contextlib.closing(unix.socket(fileno=os.dup(descriptor)))


def _received(connection: unix.socket) -> int:
    try:
        facts = connection.getsockopt(unix.IPPROTO_TCP, unix.TCP_INFO, 256)
    except OSError:
        return 0
    return int(_BYTES_RECEIVED.unpack_from(facts)[0]) if len(facts) >= _BYTES_RECEIVED.size else 0
