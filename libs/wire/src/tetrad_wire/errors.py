"""Errors of the wire; the type says whose fault it is.

WireError
├── LocalProtocolError    we were about to send something illegal: a bug here
└── RemoteProtocolError   a peer sent something illegal: count it, drop it, carry on
"""

from enum import StrEnum


class Violation(StrEnum):
    """What was wrong with a message; a closed set, fit for a metric label."""

    OVERSIZE = "oversize"
    """A header or a buffer is larger than its limit."""
    SYNTAX = "syntax"
    """The header is no msgpack, nests too deep, or holds what is no plain value."""
    SCHEMA = "schema"
    """A field is missing, has another type, or makes no sense beside the others."""
    VERSION = "version"
    """The sender speaks another protocol version."""
    KIND = "kind"
    """The catalogue has no such kind."""
    BUFFERS = "buffers"
    """There are too many buffers, or they are not what the header announces."""
    RUN = "run"
    """The message belongs to another run."""
    STALE = "stale"
    """The sender follows a coordinator that has been replaced."""
    KEY = "key"
    """The sender's key does not permit it."""


class WireError(Exception):
    """Something on the wire broke the protocol."""


class LocalProtocolError(WireError):
    """We were about to send something illegal."""


class RemoteProtocolError(WireError):
    """A peer sent something illegal; `violation` names the rule."""

    def __init__(self, violation: Violation, detail: str) -> None:
        super().__init__(f"{violation.value}: {detail}")
        self.violation = violation
