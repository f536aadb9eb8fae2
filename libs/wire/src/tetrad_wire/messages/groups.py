"""Links between broadcaster and engines before any version moves: echoes, and process groups for collectives.

How a group is asked for, refused or opened, and how a sending in it ends. The versions themselves are `weights`.
"""

import msgspec
import numpy as np

from tetrad_wire.arrays import require
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.weights import MAX_CHUNK_BYTES


class GroupSide(msgspec.Struct, frozen=True, kw_only=True):
    """What one side of a process group rests on; sides that differ would hang, so they are compared first."""

    backend: str
    """`nccl` or `gloo`."""
    gpu: str = ""
    """UUID of its GPU; empty with gloo. The one fact in which the sides must differ."""
    versions: dict[str, str] = {}
    """Of torch and NCCL."""
    environment: dict[str, str] = {}
    """Variables that steer collectives, without those that name a host's own devices."""


class FormGroup(msgspec.Struct, frozen=True, kw_only=True):
    """An engine asks for a process group of its own; answered by GroupOpened or GroupRefused.

    Whatever group this incarnation was in before is over.
    """

    incarnation: Incarnation
    name: str = ""
    """Stable name of the replica, for logs and metrics."""
    attempt: int
    """Counted by the engine; asking again with the same number is answered alike."""
    side: GroupSide
    """Of the engine's receiver."""
    pid: int = 0
    """Of the engine's service, as in PullVersion."""
    started: int = 0
    """When that process started, as in PullVersion."""
    pid_space: str = ""
    """In which the pid means something, as in PullVersion."""


class GroupOpened(msgspec.Struct, frozen=True, kw_only=True):
    """A sender waits at an address; the engine's receiver is to come there."""

    group: str
    """Name: incarnations of the broadcaster and of the engine, and the number of the attempt."""
    host: str
    """Where the sender's store listens."""
    port: int
    """Where the sender's store listens."""
    bucket_bytes: int
    """Each collective moves so many bytes of the flat layout; the last one what is left."""
    test_bytes: int
    """Of the collective that proves the group."""


class GroupRefused(msgspec.Struct, frozen=True, kw_only=True):
    """There will be no such group."""

    attempt: int
    """Of the question."""
    reason: str
    """What differs, with both values, or what is missing."""
    may_retry: bool = False
    """Whether the same question may be answered otherwise later."""


class FollowSending(msgspec.Struct, frozen=True, kw_only=True):
    """An engine that was offered a version by its group asks how its sending ends; answered by SendingEnded."""

    group: str
    """Name."""
    version: PolicyVersion
    incarnation: Incarnation


class SendingEnded(msgspec.Struct, frozen=True, kw_only=True):
    """The sender has sent every bucket, or it never will."""

    group: str
    """Name."""
    version: PolicyVersion
    problem: str = ""
    """Why it never will: phase, bucket and seconds; empty where everything was sent."""
    seconds: float = 0.0
    """That it took."""


class TestLink(msgspec.Struct, frozen=True, kw_only=True):
    """An engine proves its connection to the broadcaster, and measures it; answered by LinkEchoed."""

    # pytest must not take it for a test.
    __test__ = False

    data: np.ndarray
    """uint8, at most 4 MiB."""

    def __post_init__(self) -> None:
        """Bytes, and as few as a chunk has."""
        require(self.data, "data", "uint8")
        if self.data.size > MAX_CHUNK_BYTES:
            raise ValueError(f"a link is tested with {self.data.size} bytes; at most {MAX_CHUNK_BYTES} are echoed")


class LinkEchoed(msgspec.Struct, frozen=True, kw_only=True):
    """What came."""

    data: np.ndarray
    """uint8, as sent."""

    def __post_init__(self) -> None:
        """Bytes, no other numbers."""
        require(self.data, "data", "uint8")
