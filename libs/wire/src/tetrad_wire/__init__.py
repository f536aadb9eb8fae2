"""The contract between the services, and nothing else: messages, envelope, codec.

Owns the meaning of every byte on a socket. Knows no socket, no process and no framework.
"""

from tetrad_wire.codec import decode, encode
from tetrad_wire.envelope import Header, Message
from tetrad_wire.errors import LocalProtocolError, RemoteProtocolError, WireError
from tetrad_wire.limits import Limits
from tetrad_wire.version import PROTOCOL_VERSION

__all__ = [
    "PROTOCOL_VERSION",
    "Header",
    "Limits",
    "LocalProtocolError",
    "Message",
    "RemoteProtocolError",
    "WireError",
    "decode",
    "encode",
]
