"""The two ends of a channel: one listens, many connect.

Sends never wait: a peer that is gone or full is an error at once. Receives wait and can be cancelled. What breaks
the protocol is counted by rule and dropped. Owns no socket: a carrier moves the frames.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from tetrad_transport.carrier import CarrierFactory, PeerId
from tetrad_transport.errors import ClosedError, DeadlineError, PeerFullError, PeerGoneError, RefusedError
from tetrad_transport.guard import Guard
from tetrad_transport.inbox import Inbox
from tetrad_transport.keys.role import NOBODY, PublicKey
from tetrad_transport.statistics import ChannelStatistics
from tetrad_wire import Limits, Message, RemoteProtocolError, decode, encode
from tetrad_wire.codec import Frame
from tetrad_wire.errors import Violation
from tetrad_wire.messages.refusals import Refused

LISTENER: Final = PeerId(b"")
"""The only peer of a connected end."""
RETRY_S: Final = 0.05
"""Pause before a request is offered again to a full outbox."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message and who sent it."""

    peer: PeerId
    message: Message
    key: PublicKey = NOBODY
    """Public key of the sender; empty on a channel without keys."""


@dataclass(slots=True)
class Stamp:
    """What an end writes on every message it sends."""

    run: str = ""
    epoch: int = 0


class _End:
    """What both ends share: encoding, decoding, counting."""

    def __init__(self, make_carrier: CarrierFactory, limits: Limits, statistics: ChannelStatistics | None) -> None:
        self.stamp = Stamp()
        self._limits = limits
        self._ids = itertools.count(1)
        self._statistics = ChannelStatistics() if statistics is None else statistics
        self._carrier = make_carrier(self._deliver)

    def statistics(self) -> ChannelStatistics:
        """Counters since this end was opened."""
        return self._statistics

    def _deliver(self, peer: PeerId, frames: Sequence[Frame], key: PublicKey = NOBODY) -> bool:
        self._statistics.messages_received += 1
        self._statistics.bytes_received += sum(map(len, frames))
        self._statistics.hear(peer)
        try:
            message = decode(frames, limits=self._limits)
            self._check(message)
        except RemoteProtocolError as error:
            self._statistics.violations[error.violation.value] += 1
            self._note(error, key)
            return True
        return self._accept(peer, message, key)

    def _check(self, message: Message) -> None:
        if message.run and self.stamp.run and message.run != self.stamp.run:
            raise RemoteProtocolError(Violation.RUN, f"message of run {message.run}, this is {self.stamp.run}")

    def _note(self, error: RemoteProtocolError, key: PublicKey) -> None:
        """Hear of a message that broke the protocol."""

    def _accept(self, peer: PeerId, message: Message, key: PublicKey) -> bool:
        raise NotImplementedError

    def _send(self, peer: PeerId, body: msgspec.Struct, reply_to: int | None) -> int:
        number = next(self._ids)
        message = Message(body=body, id=number, reply_to=reply_to, run=self.stamp.run, epoch=self.stamp.epoch)
        frames = encode(message, limits=self._limits)
        try:
            self._carrier.send(peer, frames)
        except PeerGoneError:
            self._statistics.send_failures["gone"] += 1
            raise
        except PeerFullError:
            self._statistics.send_failures["full"] += 1
            raise
        self._statistics.messages_sent += 1
        self._statistics.bytes_sent += sum(map(len, frames))
        return number


class Listener(_End):
    """The bound end: hears from many peers and answers each."""

    def __init__(
        self,
        endpoint: str,
        make_carrier: CarrierFactory,
        *,
        limits: Limits,
        inbox_capacity: int,
        guard: Guard | None = None,
        statistics: ChannelStatistics | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._guard = guard
        self._inbox: Inbox[Delivery] = Inbox(inbox_capacity)
        super().__init__(make_carrier, limits, statistics)

    async def receive(self) -> Delivery:
        """Wait for the next message of any peer; raise ClosedError once closed."""
        delivery = await self._inbox.get()
        self._carrier.read_on()
        return delivery

    def receive_nowait(self) -> Delivery | None:
        """Return a message that is already here, or None."""
        delivery = self._inbox.get_nowait()
        self._carrier.read_on()
        return delivery

    def send_nowait(self, peer: PeerId, body: msgspec.Struct, *, reply_to: int | None = None) -> None:
        """Send; raise PeerGoneError or PeerFullError at once where it cannot be."""
        self._send(peer, body, reply_to)

    def close(self) -> None:
        """Close; idempotent."""
        self._carrier.close()
        self._inbox.close()

    def _note(self, error: RemoteProtocolError, key: PublicKey) -> None:
        if self._guard is not None:
            self._guard.note(str(error), key)

    def _accept(self, peer: PeerId, message: Message, key: PublicKey) -> bool:
        if self._guard is not None and (refused := self._guard.judge(key, message.body)) is not None:
            self._statistics.violations[Violation.KEY.value] += 1
            # It need not hear of it: a peer that is full or gone has lost nothing.
            with contextlib.suppress(PeerGoneError, PeerFullError):
                self._send(peer, refused, message.id)
            return True
        self._inbox.put_nowait(Delivery(peer, message, key))
        return self._inbox.has_room


class Connection(_End):
    """The connected end: talks to one listener; the carrier reconnects by itself."""

    def __init__(
        self,
        make_carrier: CarrierFactory,
        *,
        limits: Limits,
        inbox_capacity: int,
        recognise: Callable[[PublicKey], None] = lambda _key: None,
        statistics: ChannelStatistics | None = None,
    ) -> None:
        self.recognise = recognise
        """Tells the connection that its listener has another key now."""
        self.on_refused: Callable[[Refused], None] = lambda _refused: None
        """Hears of every message that the listener refused because of our key."""
        self._inbox: Inbox[Message] = Inbox(inbox_capacity)
        self._waiting: dict[int, asyncio.Future[msgspec.Struct]] = {}
        super().__init__(make_carrier, limits, statistics)

    async def receive(self) -> Message:
        """Wait for the next message that is no reply; raise ClosedError once closed."""
        message = await self._inbox.get()
        self._carrier.read_on()
        return message

    def send_nowait(self, body: msgspec.Struct, *, reply_to: int | None = None) -> None:
        """Send; raise PeerFullError where the outbox is full."""
        self._send(LISTENER, body, reply_to)

    async def request(self, body: msgspec.Struct, *, timeout_s: float, resend_s: float | None = None) -> msgspec.Struct:
        """Send and wait for the reply; raise DeadlineError after `timeout_s`, ClosedError once closed.

        Raises RefusedError where our key does not permit the request.

        With `resend_s` the request is sent again after each such silence: only for what may be repeated. Where the
        outbox is full the request is tried again until it is taken. Replies wait behind what `receive` has not
        taken: an end that is told things must read them.
        """
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[msgspec.Struct] = loop.create_future()
        # A timer on the reply: asyncio.timeout around it would be a tenth of our part of a local round trip.
        deadline = loop.call_later(timeout_s, _expire, reply, body, timeout_s)
        numbers: list[int] = []
        try:
            while True:
                silence_s = resend_s if self._ask(body, reply, numbers) else RETRY_S
                if silence_s is None:
                    return await reply
                await asyncio.wait((reply,), timeout=silence_s)
                if reply.done():
                    return reply.result()
        finally:
            deadline.cancel()
            for number in numbers:
                self._waiting.pop(number, None)

    def close(self) -> None:
        """Close; idempotent. Readers and requests that wait get ClosedError."""
        self._carrier.close()
        self._inbox.close()
        for reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(ClosedError("the channel is closed"))

    def _ask(self, body: msgspec.Struct, reply: asyncio.Future[msgspec.Struct], numbers: list[int]) -> bool:
        try:
            numbers.append(self._send(LISTENER, body, None))
        except PeerFullError:
            # Nobody there yet, or it does not keep up: the deadline decides.
            return False
        self._waiting[numbers[-1]] = reply
        return True

    def _check(self, message: Message) -> None:
        super()._check(message)
        if message.epoch:
            if message.epoch < self.stamp.epoch:
                raise RemoteProtocolError(
                    Violation.STALE, f"coordinator epoch {message.epoch}; {self.stamp.epoch} was seen"
                )
            self.stamp.epoch = message.epoch

    def _accept(self, _peer: PeerId, message: Message, _key: PublicKey) -> bool:
        if isinstance(message.body, Refused):
            self._refuse(message.body, message.reply_to)
        elif message.reply_to is None:
            self._inbox.put_nowait(message)
        else:
            self._resolve(message.reply_to, message.body)
        return self._inbox.has_room

    def _resolve(self, number: int, body: msgspec.Struct) -> None:
        reply = self._waiting.get(number)
        if reply is None or reply.done():
            self._statistics.orphans += 1
        else:
            reply.set_result(body)

    def _refuse(self, refused: Refused, number: int | None) -> None:
        self.on_refused(refused)
        reply = self._waiting.get(number) if number is not None else None
        if reply is not None and not reply.done():
            reply.set_exception(RefusedError(refused.reason))


def _expire(reply: asyncio.Future[msgspec.Struct], body: msgspec.Struct, timeout_s: float) -> None:
    if not reply.done():
        reply.set_exception(DeadlineError(f"no reply to {type(body).__name__} within {timeout_s:g} s"))
