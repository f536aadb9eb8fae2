"""What a listener turned away, for whoever keeps the audit log."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tetrad_transport.keys.role import NOBODY, PublicKey


class Reason(StrEnum):
    """Why; a closed set, fit for a metric label."""

    UNKNOWN_KEY = "unknown_key"
    """A handshake with a key that nobody allowed."""
    REVOKED_KEY = "revoked_key"
    """A handshake or a message with a key that was revoked or replaced."""
    WRONG_ROLE = "wrong_role"
    """The key's role may not send this, or is not the role that the peer says."""
    WRONG_NAME = "wrong_name"
    """The key is for processes of other names."""
    WRONG_SESSION = "wrong_session"
    """The peer spoke for a process start that another key has."""
    BAD_MESSAGE = "bad_message"
    """It broke the protocol: no msgpack, too large, of another run, of an unknown kind."""
    BAD_HANDSHAKE = "bad_handshake"
    """It broke off the handshake, had no key, or the wrong key of ours."""
    SLOW_HANDSHAKE = "slow_handshake"
    """It did not finish the handshake in time."""
    CROWDED_OUT = "crowded_out"
    """It had not said anything yet, and too many others were at the door."""
    NOT_ADMITTED = "not_admitted"
    """We were turned away: the listener does not admit our key, or has another than we were told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One peer, connection or message that was turned away."""

    reason: Reason
    endpoint: str
    """Ours."""
    detail: str
    """For people; holds no secret."""
    address: str = ""
    """Of the peer, where it is known."""
    key: PublicKey = NOBODY
    """Public key of the peer, where it has shown one."""
    key_name: str = ""
    """As its file is called, where it is known."""


OnRefusal = Callable[[Refusal], None]
"""Called on the event loop; must not block it."""
