"""Sends what the core decided to the peers it concerns, and remembers who waits for which answer."""

import contextlib
import hashlib
import hmac
from collections import defaultdict
from typing import Final

import msgspec

from tetrad_learner.coordinator.core.effects import Acknowledge, Grant, Revoke
from tetrad_learner.coordinator.core.keys import GroupKey
from tetrad_learner.coordinator.registry import MemberRecord, Registry
from tetrad_learner.coordinator.tasks import Tasks
from tetrad_telemetry.logs import get_logger
from tetrad_transport import Listener, PeerFullError, PeerGoneError, PeerId
from tetrad_wire.ids import Incarnation, Token
from tetrad_wire.messages.joining import RunDescribed
from tetrad_wire.messages.leases import LeaseReturned, LeaseRevoked, SampleAck, SampleFinished, SamplesAcknowledged
from tetrad_wire.messages.membership import RanksOrder

log = get_logger(__name__)

_NONCE_HEX_DIGITS: Final = 16

Answer = tuple[GroupKey, int, Token]


class Mailroom:
    """Outgoing mail of the coordinator. Nothing waits: a peer that cannot be reached is reported as lost."""

    def __init__(
        self, listener: Listener, registry: Registry, tasks: Tasks, *, secret: str, about: RunDescribed
    ) -> None:
        self._listener = listener
        self._registry = registry
        self._tasks = tasks
        self._secret = secret.encode()
        self._about = about
        self._askers: dict[Answer, list[PeerId]] = defaultdict(list)
        self._outgoing: dict[PeerId, list[SampleAck]] = defaultdict(list)
        self.undelivered: list[Token] = []
        """Leases whose grant was not taken; the service gives them back to the core."""

    def nonce(self, token: Token) -> str:
        """The unguessable part of a lease; the same after a restart."""
        digest = hmac.new(self._secret, str(token).encode(), hashlib.sha256).hexdigest()
        return digest[:_NONCE_HEX_DIGITS]

    def is_genuine(self, message: SampleFinished | LeaseReturned) -> bool:
        """Whether the sender was given the lease that the message names."""
        return hmac.compare_digest(message.nonce.encode(), self.nonce(message.token).encode())

    def expect_answer(self, peer: PeerId, answer: Answer) -> None:
        """Remember who sent a sample; its acknowledgement goes there."""
        self._askers[answer].append(peer)

    def grant(self, effect: Grant) -> None:
        """Send a lease."""
        lease = msgspec.structs.replace(self._tasks.lease(effect), nonce=self.nonce(effect.token))
        if not self._to_engine(effect.engine, lease):
            self.undelivered.append(effect.token)

    def revoke(self, effect: Revoke) -> None:
        """Send a revocation. One that is lost is sent again when the engine's heartbeat names the lease."""
        self._to_engine(effect.engine, LeaseRevoked(token=effect.token, reason=effect.reason))

    def acknowledge(self, effect: Acknowledge) -> None:
        """Queue an acknowledgement; `flush` sends those of one commit together."""
        ack = SampleAck(
            token=effect.token,
            lane=effect.key.lane,
            round=effect.key.round,
            draw=effect.key.draw,
            index=effect.index,
            disposition=effect.disposition,
            reason=effect.reason,
        )
        for peer in self._askers.pop((effect.key, effect.index, effect.token), ()):
            self._outgoing[peer].append(ack)

    def flush(self) -> None:
        """Send the queued acknowledgements. One that is lost is asked for again."""
        for peer, acks in self._outgoing.items():
            self._send(peer, SamplesAcknowledged(acks=tuple(acks)))
        self._outgoing.clear()

    def describe(self, peer: PeerId, *, reply_to: int) -> None:
        """Say what is run here, and where the weights are, to somebody who asks before joining."""
        record = self._registry.broadcaster()
        about = self._about
        if record is not None:
            about = msgspec.structs.replace(about, broadcaster=record.hello.endpoint, broadcaster_key=record.key)
        with contextlib.suppress(PeerGoneError, PeerFullError):  # it asks again
            self._listener.send_nowait(peer, about, reply_to=reply_to)

    def order_ranks(self, order: RanksOrder | None) -> None:
        """Tell the other hosts of the learner what to run."""
        if self._registry.order_ranks(order):
            self.tell_everyone()

    def tell_everyone(self) -> None:
        """Send the full desired state to every member."""
        for record in list(self._registry.members.values()):
            self.tell(record.peer, should_drain=record.hello.incarnation in self._registry.rewards.dismissed)

    def send_away(self, peer: PeerId) -> None:
        """Have a process leave whose place another start has taken; the two would drive each other out for ever."""
        self._send(peer, self._registry.desired(should_drain=True))

    def tell(self, peer: PeerId, *, should_register: bool = False, should_drain: bool = False) -> None:
        """Send the full desired state to one peer."""
        self._send(peer, self._registry.desired(should_register=should_register, should_drain=should_drain))

    def _to_engine(self, engine: Incarnation, body: msgspec.Struct) -> bool:
        record: MemberRecord | None = self._registry.members.get(engine)
        return record is not None and self._send(record.peer, body)

    def _send(self, peer: PeerId, body: msgspec.Struct) -> bool:
        try:
            self._listener.send_nowait(peer, body)
        except (PeerGoneError, PeerFullError) as error:
            log.warning("mail_not_taken", kind=type(body).__name__, error=str(error))
            return False
        return True
