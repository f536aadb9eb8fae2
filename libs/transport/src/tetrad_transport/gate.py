"""Which key may say what: the role is bound to the key, and a process start to the key that named it first.

Pure: owns no socket and reads no file. Made for one listener; `lookup` says what a key stands for at this moment.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from tetrad_transport.keys.allowed import Grant
from tetrad_transport.keys.role import KeyRole, PublicKey
from tetrad_wire.messages import episodes, groups, joining, leases, membership, steps, weights
from tetrad_wire.messages.refusals import RefusalCode

Lookup = Callable[[PublicKey], Grant | None]

MEMBERS: Final = frozenset({KeyRole.TRAINER, KeyRole.ROLLOUT, KeyRole.REWARD, KeyRole.BROADCASTER})
_TRAINER: Final = frozenset({KeyRole.TRAINER})
_ROLLOUT: Final = frozenset({KeyRole.ROLLOUT})
# A relay has the key of the broadcaster whose agent it is.
_READERS: Final = frozenset({KeyRole.ROLLOUT, KeyRole.BROADCASTER})
KEY_OF: Final[Mapping[membership.Role, KeyRole]] = {
    membership.Role.TRAINER: KeyRole.TRAINER,
    membership.Role.HOST: KeyRole.TRAINER,
    membership.Role.ROLLOUT: KeyRole.ROLLOUT,
    membership.Role.REWARD: KeyRole.REWARD,
    membership.Role.BROADCASTER: KeyRole.BROADCASTER,
    membership.Role.RELAY: KeyRole.BROADCASTER,
}
"""Whose key a member of each role has."""

MAY_SEND: Final[Mapping[type[msgspec.Struct], frozenset[KeyRole]]] = {
    membership.Hello: MEMBERS,
    membership.Heartbeat: MEMBERS,
    membership.Bye: MEMBERS,
    joining.AskRun: frozenset({KeyRole.TRAINER, KeyRole.ROLLOUT}),
    leases.LeasesRenewed: _ROLLOUT,
    leases.LeaseReturned: _ROLLOUT,
    leases.SampleFinished: _ROLLOUT,
    episodes.OpenEpisodes: _ROLLOUT,
    episodes.StepEpisode: _ROLLOUT,
    episodes.CloseEpisodes: _ROLLOUT,
    weights.PublishVersion: _TRAINER,
    weights.PullVersion: _READERS,
    weights.PullChunk: _READERS,
    weights.SegmentReleased: _READERS,
    groups.TestLink: _ROLLOUT,
    groups.FormGroup: _ROLLOUT,
    groups.FollowSending: _ROLLOUT,
    steps.RankReady: _TRAINER,
    steps.StepProgressed: _TRAINER,
    steps.StepCredited: _TRAINER,
    steps.StepExecuted: _TRAINER,
    steps.StepFailed: _TRAINER,
    steps.RankFailed: _TRAINER,
    steps.WeightsPublished: _TRAINER,
    steps.PublishFailed: _TRAINER,
    steps.CheckpointCopied: _TRAINER,
    steps.CheckpointSaved: _TRAINER,
    steps.CheckpointFailed: _TRAINER,
    steps.StateMoved: _TRAINER,
}
"""Who may send a kind to a listener; one that is not named here is only ever sent by listeners."""

# Process starts that one key may have at a time: replicas may share a key, restarts add to them.
MAX_SESSIONS: Final = 1024
# Named by the coordinator, and so the same for every rank of a set.
_OF_A_SET: Final = (steps.RankReady, steps.RankFailed)


class NotAllowedError(Exception):
    """The key does not permit the message."""

    def __init__(self, code: RefusalCode, reason: str, grant: Grant | None) -> None:
        super().__init__(reason)
        self.code = code
        self.grant = grant


class Gate:
    """Judges every message of an authenticated peer."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._owners: dict[str, PublicKey] = {}
        self._starts: dict[PublicKey, deque[str]] = {}

    def check(self, key: PublicKey, body: msgspec.Struct) -> None:
        """Raise NotAllowedError unless the holder of `key` may send `body`."""
        grant = self._lookup(key)
        if grant is None:
            raise NotAllowedError(RefusalCode.REVOKED_KEY, "the key was revoked", None)
        kind = type(body).__name__
        if grant.role not in MAY_SEND.get(type(body), frozenset()):
            raise NotAllowedError(RefusalCode.WRONG_ROLE, f"the key of a {grant.role} may not send {kind}", grant)
        if isinstance(body, membership.Hello):
            _check_hello(body, grant)
        self._check_start(key, body, grant)

    def _check_start(self, key: PublicKey, body: msgspec.Struct, grant: Grant) -> None:
        start = getattr(body, "incarnation", None)
        if start is None or isinstance(body, _OF_A_SET):
            return
        owner = self._owners.get(start)
        if owner is None or self._lookup(owner) is None:
            self._bind(start, key)
        elif owner != key:
            if not self._is_successor(owner, grant):
                reason = f"process start {start} belongs to another key"
                raise NotAllowedError(RefusalCode.WRONG_SESSION, reason, grant)
            self._bind(start, key)

    def _is_successor(self, owner: PublicKey, grant: Grant) -> bool:
        """Whether the owner is what the key was before its rotation."""
        former = self._lookup(owner)
        return former is not None and former.until is not None and former.key_name.endswith(f"-{grant.key_name}")

    def _bind(self, start: str, key: PublicKey) -> None:
        starts = self._starts.setdefault(key, deque())
        if len(starts) >= MAX_SESSIONS:
            self._owners.pop(starts.popleft(), None)
        starts.append(start)
        self._owners[start] = key


def _check_hello(hello: membership.Hello, grant: Grant) -> None:
    if KEY_OF[hello.role] is not grant.role:
        reason = f"the key is of a {grant.role}, the peer says that it is a {hello.role}"
        raise NotAllowedError(RefusalCode.WRONG_ROLE, reason, grant)
    if not grant.is_for(hello.name):
        reason = f"the key {grant.key_name} is for {grant.replicas}, the peer says that it is {hello.name}"
        raise NotAllowedError(RefusalCode.WRONG_NAME, reason, grant)
