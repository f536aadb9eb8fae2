"""Where a channel is tested: opens transports, closes what was opened, and reaches below the messages."""

import abc
import asyncio
import itertools
import shutil
import socket as stream
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Self, TypeVar

import zmq

from tetrad_transport import Connection, Listener, MemoryTransport, Transport, TransportError, ZmqTransport
from tetrad_transport.carrier import Carrier, PeerId
from tetrad_transport.channel import LISTENER
from tetrad_transport.keys.role import NOBODY, PublicKey
from tetrad_wire.codec import Frame

DEADLINE_S: Final = 10.0

Outcome = TypeVar("Outcome")


async def eventually(holds: Callable[[], bool], *, within_s: float = DEADLINE_S) -> None:
    """Wait until `holds()`; raise TimeoutError after `within_s`."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110  # counters have no event to wait for
            await asyncio.sleep(0.002)


async def soon(wait: Awaitable[Outcome]) -> Outcome:
    """Wait for what should come at once; raise TimeoutError if it does not."""
    async with asyncio.timeout(DEADLINE_S):
        return await wait


class RawPeer(abc.ABC):
    """A peer that may send anything."""

    @abc.abstractmethod
    def send(self, frames: Sequence[bytes]) -> None:
        """Send frames as they are."""


class Opened:
    """A transport whose ends the site closes."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._ends: list[Listener | Connection] = []

    def listen(self, endpoint: str) -> Listener:
        """Bind."""
        listener = self.transport.listen(endpoint)
        self._ends.append(listener)
        return listener

    async def listen_again(self, endpoint: str) -> Listener:
        """Bind an endpoint that was just closed: the kernel may take a moment to give it back."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    return self.listen(endpoint)
                except TransportError:
                    await asyncio.sleep(0.01)

    def connect(self, endpoint: str, *, name: str = "peer") -> Connection:
        """Connect."""
        connection = self.transport.connect(endpoint, name=name)
        self._ends.append(connection)
        return connection

    def close(self) -> None:
        """Close the ends, then the transport."""
        for end in self._ends:
            end.close()
        self.transport.close()


class Site(abc.ABC):
    """One way to build channels, with endpoints of its own."""

    def __init__(self) -> None:
        self._opened: list[Opened] = []
        self._numbers = itertools.count()

    def open(self, **options: Any) -> Opened:
        """A transport; options are those that every transport has."""
        self._opened.append(Opened(self._transport(**options)))
        return self._opened[-1]

    @abc.abstractmethod
    def endpoint(self) -> str:
        """An endpoint that may be bound."""

    @abc.abstractmethod
    def raw(self, opened: Opened, endpoint: str) -> RawPeer:
        """A peer below the messages."""

    def close(self) -> None:
        """Close all that was opened."""
        for opened in self._opened:
            opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @abc.abstractmethod
    def _transport(self, **options: Any) -> Transport: ...


class MemorySite(Site):
    """Channels in memory."""

    def endpoint(self) -> str:
        """A name."""
        return f"memory://{next(self._numbers)}"

    def raw(self, opened: Opened, endpoint: str) -> RawPeer:
        """A bare carrier."""
        assert isinstance(opened.transport, MemoryTransport)
        return _RawMemoryPeer(opened.transport.dial(endpoint, name="raw", deliver=_ignore))

    def _transport(self, **options: Any) -> MemoryTransport:
        return MemoryTransport(**options)


def _ignore(_peer: PeerId, _frames: Sequence[Frame], _key: PublicKey = NOBODY) -> bool:
    return True


class _RawMemoryPeer(RawPeer):
    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier

    def send(self, frames: Sequence[bytes]) -> None:
        self._carrier.send(LISTENER, list(frames))


class ZmqSite(Site):
    """Channels over sockets."""

    def __init__(self) -> None:
        super().__init__()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()

    def raw(self, opened: Opened, endpoint: str) -> RawPeer:  # noqa: ARG002  # any process could open it
        """A bare DEALER."""
        dealer = self._context.socket(zmq.DEALER)
        dealer.connect(endpoint)
        return _RawSocketPeer(dealer)

    def close(self) -> None:
        """Close the raw sockets too."""
        super().close()
        self._context.destroy(linger=0)

    def _transport(self, **options: Any) -> ZmqTransport:
        return ZmqTransport(allow_clear_tcp=True, **options)


class IpcSite(ZmqSite):
    """Sockets in the file system; a short folder, since the path may have 107 bytes."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.mkdtemp(prefix="tetrad-", dir="/tmp")

    def endpoint(self) -> str:
        """A path."""
        return f"ipc://{self._folder}/{next(self._numbers)}"

    def close(self) -> None:
        """Remove the folder too."""
        super().close()
        shutil.rmtree(self._folder)


class TcpSite(ZmqSite):
    """Sockets on loopback; the kernel chooses the port."""

    def endpoint(self) -> str:
        """A port that was free a moment ago, so that peers may connect before anybody listens."""
        with stream.create_server(("127.0.0.1", 0)) as probe:
            return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


class _RawSocketPeer(RawPeer):
    def __init__(self, dealer: "zmq.Socket[bytes]") -> None:
        self._dealer = dealer

    def send(self, frames: Sequence[bytes]) -> None:
        self._dealer.send_multipart(list(frames), zmq.NOBLOCK)
