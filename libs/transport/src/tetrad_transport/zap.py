"""The authentication handler of a context (ZeroMQ RFC 27): admits public keys that the lookup knows.

It answers from memory and never waits, so that a handshake costs the event loop microseconds.
"""

from collections.abc import Callable
from typing import Final

import zmq
from zmq.utils import z85

from tetrad_transport.keys.role import NOBODY, PublicKey
from tetrad_transport.readable import Readable

ENDPOINT: Final = "inproc://zeromq.zap.01"
_VERSION: Final = b"1.0"
_MECHANISM: Final = b"CURVE"

IsAdmitted = Callable[[PublicKey, str, str], bool]
"""Takes a public key, the address of the peer and the domain of the listener; returns whether it may come in."""


class ZapHandler:
    """One per context, before its first secured socket is bound. Where it is gone, libzmq admits nobody."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", is_admitted: IsAdmitted) -> None:
        self._is_admitted = is_admitted
        socket = context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind(ENDPOINT)
        self._readable = Readable(socket, self._answer)

    def close(self) -> None:
        """Close; idempotent."""
        self._readable.close()

    def _answer(self, frames: list[bytes]) -> None:
        if len(frames) < 6:
            return  # libzmq alone reaches this socket; what is too short to answer cannot be its request
        way_back, rest = frames[:2], frames[2:]
        key = _key_of(rest)
        domain, address = (text.decode(errors="replace") for text in rest[2:4])
        if key != NOBODY and self._is_admitted(key, address, domain):
            verdict = [b"200", b"OK", key.encode(), b""]
        else:
            verdict = [b"400", b"the key is not admitted", b"", b""]
        self._readable.socket.send_multipart([*way_back, _VERSION, rest[1], *verdict], zmq.NOBLOCK)


def _key_of(request: list[bytes]) -> PublicKey:
    """The key that a request is about: version, id, domain, address, identity, mechanism, key."""
    if len(request) != 7 or request[0] != _VERSION or request[5] != _MECHANISM or len(request[6]) != 32:
        return NOBODY
    return PublicKey(z85.encode(request[6]).decode())
