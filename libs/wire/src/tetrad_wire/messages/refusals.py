"""What a peer is told whose key does not permit what it asked for."""

from enum import StrEnum

import msgspec


class RefusalCode(StrEnum):
    """Why a message of an authenticated peer was refused."""

    WRONG_ROLE = "wrong_role"
    """Its key belongs to a role that may not send this kind of message, or to another role than it says."""
    WRONG_NAME = "wrong_name"
    """Its key is for replicas of other names."""
    WRONG_SESSION = "wrong_session"
    """The process start that it speaks for belongs to another key."""
    REVOKED_KEY = "revoked_key"
    """Its key was revoked while it was connected."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """The message was dropped, and sending it again will not help; only where keys are used."""

    code: RefusalCode
    reason: str
    """For the log of whoever sent it."""
