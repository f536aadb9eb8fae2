"""The two ends of each way to talk: our channel, and bare pyzmq in three ways with the same frames and options.

Over TCP our channel and blocking pyzmq are under CURVE too, with the keys of the folder that `KEYS` names.

A server answers every so many messages; a client asks one by one, or streams within a window. Run as a script this
file serves until it is killed: `python benchmarks/wire_peers.py WAY ENDPOINT ANSWER_EVERY NUM_TOKENS`.
"""

import abc
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgpack
import msgspec
import zmq
import zmq.asyncio

from tetrad_testing.builders import a_grade, a_sample, a_step, a_turn, an_execution
from tetrad_transport import ZmqTransport
from tetrad_transport.keys import Keyring, KeyRole
from tetrad_transport.keys.curve import secure_client, secure_server
from tetrad_wire import Message, encode
from tetrad_wire.limits import DEFAULT_LIMITS

DEADLINE_S: Final = 60.0
KEYS: Final = "TETRAD_KEYS"
# As our channel does: below this a copy is cheaper than a lent frame.
ZERO_COPY_BYTES: Final = 64 << 10
OPTIONS: Final = {
    zmq.LINGER: 0,
    zmq.SNDHWM: 4096,
    zmq.RCVHWM: 4096,
    zmq.MAXMSGSIZE: DEFAULT_LIMITS.max_frame_bytes,
    zmq.HEARTBEAT_IVL: 2000,
    zmq.HEARTBEAT_TIMEOUT: 6000,
    zmq.HEARTBEAT_TTL: 8000,
    zmq.HANDSHAKE_IVL: 5000,
}


def question(num_tokens: int) -> msgspec.Struct:
    """What clients send: a turn of an episode, or a training step of so many tokens."""
    if not num_tokens:
        return a_turn()
    step = a_step(lengths=[num_tokens])
    for array in (step.token_ids, step.loss_mask, step.rollout_logprobs):
        array.flags.writeable = False  # so that our channel may lend it to libzmq
    return step


def answer(num_tokens: int) -> msgspec.Struct:
    """What servers send back."""
    return an_execution() if num_tokens else a_grade()


def num_bytes(num_tokens: int) -> int:
    """Bytes of a question, header included."""
    return sum(map(len, encode(Message(body=question(num_tokens)))))


class Way(abc.ABC):
    """One way to talk."""

    def __init__(self, num_tokens: int) -> None:
        self.question = self.make_question(num_tokens)
        self.answer = answer(num_tokens)
        self.question_frames: list[Any] = list(encode(Message(body=self.question)))
        self.answer_frames: list[Any] = list(encode(Message(body=self.answer)))

    def make_question(self, num_tokens: int) -> msgspec.Struct:
        """What its client sends."""
        return question(num_tokens)

    @abc.abstractmethod
    def serve(self, endpoint: str, answer_every: int) -> None:
        """Answer every `answer_every`-th message, for ever."""

    @abc.abstractmethod
    def ask(self, endpoint: str, count: int) -> list[float]:
        """Ask one by one; return the seconds of each round trip."""

    @abc.abstractmethod
    def stream(self, endpoint: str, count: int, answer_every: int) -> float:
        """Send `count` messages, at most four answers' worth unanswered; return the seconds until the last answer."""


class Channel(Way):
    """Our channel: typed messages, validated on arrival."""

    def transport(self, _role: KeyRole) -> ZmqTransport:
        """One end's sockets."""
        return ZmqTransport(allow_clear_tcp=True)

    def serve(self, endpoint: str, answer_every: int) -> None:
        """Serve on an event loop."""
        asyncio.run(self._serve(endpoint, answer_every))

    def ask(self, endpoint: str, count: int) -> list[float]:
        """Ask on an event loop."""
        return asyncio.run(self._ask(endpoint, count))

    def stream(self, endpoint: str, count: int, answer_every: int) -> float:
        """Stream on an event loop."""
        return asyncio.run(self._stream(endpoint, count, answer_every))

    async def _serve(self, endpoint: str, answer_every: int) -> None:
        listener = self.transport(KeyRole.COORDINATOR).listen(endpoint)
        seen = 0
        while True:
            delivery = await listener.receive()
            seen += 1
            if seen % answer_every == 0:
                reply_to = delivery.message.id if answer_every == 1 else None
                listener.send_nowait(delivery.peer, self.answer, reply_to=reply_to)

    async def _ask(self, endpoint: str, count: int) -> list[float]:
        transport = self.transport(KeyRole.ROLLOUT)
        connection = transport.connect(endpoint, name="client")

        async def ask() -> None:
            await connection.request(self.question, timeout_s=DEADLINE_S)

        seconds = await time_each(ask, count)
        connection.close()
        transport.close()
        return seconds

    async def _stream(self, endpoint: str, count: int, answer_every: int) -> float:
        transport = self.transport(KeyRole.ROLLOUT)
        connection = transport.connect(endpoint, name="client")

        async def send() -> None:
            connection.send_nowait(self.question)

        seconds = await time_stream(send, connection.receive, count, answer_every)
        connection.close()
        transport.close()
        return seconds


class OfRollouts(Way):
    """Sends what the key of a rollout may: turns of episodes, and finished samples of so many tokens."""

    def make_question(self, num_tokens: int) -> msgspec.Struct:
        """As large as a step of as many tokens."""
        if not num_tokens:
            return question(0)
        sample = a_sample(num_sampled=num_tokens - 3)
        for array in (sample.token_ids, sample.loss_mask, sample.rollout_logprobs):
            array.flags.writeable = False
        return sample


class ClearChannel(OfRollouts, Channel):
    """Our channel, in the clear."""


class SecuredChannel(OfRollouts, Channel):
    """Our channel under CURVE: every key is looked up at the handshake, its role at each message."""

    def transport(self, role: KeyRole) -> ZmqTransport:
        """One end's sockets."""
        return ZmqTransport(keyring=the_keys(role))


class BareAsyncio(Way):
    """pyzmq's own asyncio sockets; frames made beforehand, what arrives is not looked at."""

    def serve(self, endpoint: str, answer_every: int) -> None:
        """Serve on an event loop."""
        asyncio.run(self._serve(endpoint, answer_every))

    def ask(self, endpoint: str, count: int) -> list[float]:
        """Ask on an event loop."""
        return asyncio.run(self._ask(endpoint, count))

    def stream(self, endpoint: str, count: int, answer_every: int) -> float:
        """Stream on an event loop."""
        return asyncio.run(self._stream(endpoint, count, answer_every))

    def pack(self, frames: list[Any]) -> list[Any]:
        """Make the frames of one message."""
        return frames

    def unpack(self, frames: list[Any]) -> None:
        """Look at what arrived."""

    async def _serve(self, endpoint: str, answer_every: int) -> None:
        router = bare(zmq.asyncio.Context(), zmq.ROUTER)
        router.bind(endpoint)
        seen = 0
        while True:
            identity, *frames = await router.recv_multipart(copy=is_small(self.question_frames))
            self.unpack(frames)
            seen += 1
            if seen % answer_every == 0:
                await router.send_multipart([identity, *self.pack(self.answer_frames)])

    async def _ask(self, endpoint: str, count: int) -> list[float]:
        dealer = bare(zmq.asyncio.Context(), zmq.DEALER)
        dealer.connect(endpoint)

        async def ask() -> None:
            await dealer.send_multipart(self.pack(self.question_frames))
            self.unpack(await dealer.recv_multipart())

        seconds = await time_each(ask, count)
        dealer.close()
        return seconds

    async def _stream(self, endpoint: str, count: int, answer_every: int) -> float:
        dealer = bare(zmq.asyncio.Context(), zmq.DEALER)
        dealer.connect(endpoint)

        async def send() -> None:
            await dealer.send_multipart(self.pack(self.question_frames), copy=is_small(self.question_frames))

        async def receive() -> None:
            self.unpack(await dealer.recv_multipart())

        seconds = await time_stream(send, receive, count, answer_every)
        dealer.close()
        return seconds


class MsgpackAsyncio(BareAsyncio):
    """The same, but each header is packed and unpacked by msgpack: untyped, unchecked."""

    def __init__(self, num_tokens: int) -> None:
        super().__init__(num_tokens)
        self._headers = {
            id(frames): msgpack.unpackb(frames[0]) for frames in (self.question_frames, self.answer_frames)
        }

    def pack(self, frames: list[Any]) -> list[Any]:
        """Pack the header."""
        return [msgpack.packb(self._headers[id(frames)]), *frames[1:]]

    def unpack(self, frames: list[Any]) -> None:
        """Unpack the header."""
        first = frames[0]
        msgpack.unpackb(first if isinstance(first, bytes) else first.buffer)


class BareBlocking(Way):
    """pyzmq's blocking sockets in a plain loop; frames made beforehand, what arrives is not looked at."""

    def socket(self, kind: int) -> Any:
        """One end."""
        return bare(zmq.Context(), kind)

    def serve(self, endpoint: str, answer_every: int) -> None:
        """Serve in a loop that blocks."""
        router = self.socket(zmq.ROUTER)
        router.bind(endpoint)
        seen = 0
        while True:
            identity, *_frames = router.recv_multipart(copy=is_small(self.question_frames))
            seen += 1
            if seen % answer_every == 0:
                router.send_multipart([identity, *self.answer_frames])

    def ask(self, endpoint: str, count: int) -> list[float]:
        """Ask in a loop that blocks."""
        dealer = self.socket(zmq.DEALER)
        dealer.connect(endpoint)
        seconds = []
        for _ in range(count):
            started = time.perf_counter()
            dealer.send_multipart(self.question_frames)
            dealer.recv_multipart()
            seconds.append(time.perf_counter() - started)
        dealer.close()
        return seconds

    def stream(self, endpoint: str, count: int, answer_every: int) -> float:
        """Stream in a loop that blocks."""
        dealer = self.socket(zmq.DEALER)
        dealer.connect(endpoint)
        copy = is_small(self.question_frames)
        sent = answered = 0
        started = 0.0
        while answered < count + answer_every:
            while sent < count + answer_every and sent < answered + 4 * answer_every:
                dealer.send_multipart(self.question_frames, copy=copy)
                sent += 1
            dealer.recv_multipart()
            answered += answer_every
            started = started or time.perf_counter()
        seconds = time.perf_counter() - started
        dealer.close()
        return seconds


class ClearBlocking(OfRollouts, BareBlocking):
    """The same, with what a rollout sends."""


class SecuredBlocking(OfRollouts, BareBlocking):
    """The same under CURVE; whoever knows the server's key is admitted."""

    def socket(self, kind: int) -> Any:
        """One end."""
        socket = super().socket(kind)
        if kind == zmq.ROUTER:
            secure_server(socket, the_keys(KeyRole.COORDINATOR).own, domain="bench")
            socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 0)
        else:
            keyring = the_keys(KeyRole.ROLLOUT)
            secure_client(socket, keyring.own, keyring.coordinator)
        return socket


async def time_each(ask: Callable[[], Awaitable[object]], count: int) -> list[float]:
    """Seconds of each of `count` round trips."""
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        await ask()
        seconds.append(time.perf_counter() - started)
    return seconds


async def time_stream(
    send: Callable[[], Awaitable[object]], receive: Callable[[], Awaitable[object]], count: int, answer_every: int
) -> float:
    """Seconds of `count` messages after the first answer, with at most four answers' worth unanswered."""
    sent = answered = 0
    started = 0.0
    while answered < count + answer_every:
        while sent < count + answer_every and sent < answered + 4 * answer_every:
            await send()
            sent += 1
        await receive()
        answered += answer_every
        started = started or time.perf_counter()
    return time.perf_counter() - started


def bare(context: Any, kind: int) -> Any:
    """A socket with the options of our channel."""
    socket = context.socket(kind)
    for option, value in OPTIONS.items():
        socket.setsockopt(option, value)
    return socket


def the_keys(role: KeyRole) -> Keyring:
    """Those of one end."""
    return Keyring(Path(os.environ[KEYS]), role=role, name="bench")


def is_small(frames: list[Any]) -> bool:
    """Whether copying is cheaper."""
    return max(map(len, frames)) < ZERO_COPY_BYTES


WAYS: Final[dict[str, type[Way]]] = {
    "channel": Channel,
    "pyzmq_asyncio": BareAsyncio,
    "pyzmq_asyncio_msgpack": MsgpackAsyncio,
    "pyzmq_blocking": BareBlocking,
}
SECURED: Final[dict[str, type[Way]]] = {
    "channel_clear": ClearChannel,
    "channel_curve": SecuredChannel,
    "pyzmq_blocking_clear": ClearBlocking,
    "pyzmq_blocking_curve": SecuredBlocking,
}
"""What is compared over TCP, with and without CURVE."""


if __name__ == "__main__":
    way, endpoint, answer_every, num_tokens = sys.argv[1:]
    (WAYS | SECURED)[way](int(num_tokens)).serve(endpoint, int(answer_every))
