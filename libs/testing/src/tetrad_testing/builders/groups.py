"""Process groups of a broadcaster's sender and an engine's receiver."""

from typing import Any

import numpy as np

from tetrad_testing.builders.values import INCARNATION, Changes
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages import groups

GROUP = "b1.r1.1"


def a_side(**changes: Changes) -> groups.GroupSide:
    """In host memory."""
    fields: dict[str, Any] = {
        "backend": "gloo",
        "versions": {"torch": "2.11.0"},
        "environment": {"NCCL_CUMEM_ENABLE": "0"},
    }
    return groups.GroupSide(**fields | changes)


def a_forming(**changes: Changes) -> groups.FormGroup:
    """The first attempt."""
    fields: dict[str, Any] = {"incarnation": INCARNATION, "attempt": 1, "side": a_side()}
    return groups.FormGroup(**fields | changes)


def an_opened_group(**changes: Changes) -> groups.GroupOpened:
    """On this host."""
    fields: dict[str, Any] = {
        "group": GROUP,
        "host": "127.0.0.1",
        "port": 29500,
        "bucket_bytes": 1 << 29,
        "test_bytes": 1 << 22,
    }
    return groups.GroupOpened(**fields | changes)


def a_refused_group(**changes: Changes) -> groups.GroupRefused:
    """For good."""
    fields: dict[str, Any] = {"attempt": 1, "reason": "backend is nccl at the sender and gloo at the receiver"}
    return groups.GroupRefused(**fields | changes)


def a_following(**changes: Changes) -> groups.FollowSending:
    """Of version 1."""
    fields: dict[str, Any] = {"group": GROUP, "version": PolicyVersion(1), "incarnation": INCARNATION}
    return groups.FollowSending(**fields | changes)


def an_ended_sending(**changes: Changes) -> groups.SendingEnded:
    """Of version 1, whole."""
    fields: dict[str, Any] = {"group": GROUP, "version": PolicyVersion(1), "seconds": 0.01}
    return groups.SendingEnded(**fields | changes)


def a_link_test(**changes: Changes) -> groups.TestLink:
    """Of 16 bytes."""
    fields: dict[str, Any] = {"data": np.arange(16, dtype=np.uint8)}
    return groups.TestLink(**fields | changes)


def an_echo(**changes: Changes) -> groups.LinkEchoed:
    """Of 16 bytes."""
    fields: dict[str, Any] = {"data": np.arange(16, dtype=np.uint8)}
    return groups.LinkEchoed(**fields | changes)
