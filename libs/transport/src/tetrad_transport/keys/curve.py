"""CURVE of ZeroMQ (RFC 26): pairs of keys, and the options that make a socket use them."""

from dataclasses import dataclass, field
from typing import Final

import zmq

from tetrad_transport.keys.role import PublicKey

MAX_DOMAIN_BYTES: Final = 255


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A public key and its secret, which is never shown."""

    public_key: PublicKey
    secret_key: str = field(repr=False)


def new_pair() -> KeyPair:
    """Make a pair from the system's source of randomness."""
    public, secret = zmq.curve_keypair()
    return KeyPair(PublicKey(public.decode()), secret.decode())


def secure_server(socket: "zmq.Socket[bytes]", own: KeyPair, *, domain: str) -> None:
    """Take in only who knows our public key and is admitted by the handler of this context, see `zap.py`.

    The handler hears `domain`, which must not be empty: libzmq would ask nobody and admit everyone.
    """
    socket.setsockopt(zmq.ZAP_DOMAIN, domain.encode()[:MAX_DOMAIN_BYTES])
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt_string(zmq.CURVE_SECRETKEY, own.secret_key)


def secure_client(socket: "zmq.Socket[bytes]", own: KeyPair, server_key: PublicKey) -> None:
    """Talk only to whoever has the secret of `server_key`."""
    socket.setsockopt_string(zmq.CURVE_SERVERKEY, server_key)
    socket.setsockopt_string(zmq.CURVE_PUBLICKEY, own.public_key)
    socket.setsockopt_string(zmq.CURVE_SECRETKEY, own.secret_key)
