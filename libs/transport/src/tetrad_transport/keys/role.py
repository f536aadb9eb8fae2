"""Whose key it is: the closed set of roles, and the text form of a public key."""

from enum import StrEnum
from typing import Final, NewType

PublicKey = NewType("PublicKey", str)
"""A public key in the 40 characters of Z85 (ZeroMQ RFC 32); no secret."""

NOBODY: Final = PublicKey("")
"""The sender on a channel without keys."""


class KeyRole(StrEnum):
    """The kinds of process that have a key."""

    COORDINATOR = "coordinator"
    """The learner's coordinator, which everyone must recognise."""
    TRAINER = "trainer"
    ROLLOUT = "rollout"
    REWARD = "reward"
    BROADCASTER = "broadcaster"
