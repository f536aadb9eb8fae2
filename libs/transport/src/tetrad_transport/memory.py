"""The in-memory twin of the sockets: the same frames through the same codec, without a kernel in between.

For tests and for the single-process loop. Endpoints are names of a `MemoryTransport`.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence

from tetrad_transport.carrier import Carrier, Deliver, PeerId
from tetrad_transport.channel import LISTENER, Connection, Listener
from tetrad_transport.errors import ClosedError, PeerFullError, PeerGoneError, TransportError
from tetrad_transport.keys.role import NOBODY, PublicKey
from tetrad_wire.codec import Frame
from tetrad_wire.limits import DEFAULT_LIMITS, Limits


class MemoryTransport:
    """Channels between tasks of one event loop."""

    def __init__(
        self,
        *,
        limits: Limits = DEFAULT_LIMITS,
        high_water_mark: int = 4096,
        inbox_capacity: int = 4096,
    ) -> None:
        self._limits = limits
        self._high_water_mark = high_water_mark
        self._inbox_capacity = inbox_capacity
        self._rooms: dict[str, _Room] = {}
        self._names = itertools.count()

    def listen(self, endpoint: str) -> Listener:
        """Bind a name; raise TransportError if it is taken."""
        room = self._room(endpoint)
        if room.listener is not None:
            raise TransportError(f"cannot bind {endpoint}: address already in use")

        def carrier(deliver: Deliver) -> "_MemoryCarrier":
            room.listener = _MemoryCarrier(room, LISTENER, deliver, self._high_water_mark)
            room.listener.flush_backlog()
            return room.listener

        return Listener(endpoint, carrier, limits=self._limits, inbox_capacity=self._inbox_capacity)

    def connect(self, endpoint: str, *, name: str, server_key: PublicKey = NOBODY) -> Connection:  # noqa: ARG002
        """Connect to a name, bound already or later."""
        return Connection(
            lambda deliver: self.dial(endpoint, name=name, deliver=deliver),
            limits=self._limits,
            inbox_capacity=self._inbox_capacity,
        )

    def dial(self, endpoint: str, *, name: str, deliver: Deliver) -> Carrier:
        """Connect below the messages: the frames are the caller's business, illegal ones included."""
        room = self._room(endpoint)
        identity = PeerId(f"{name}-{next(self._names)}".encode())
        room.peers[identity] = _MemoryCarrier(room, identity, deliver, self._high_water_mark)
        return room.peers[identity]

    def close(self) -> None:
        """Forget every endpoint."""
        self._rooms.clear()

    def _room(self, endpoint: str) -> "_Room":
        return self._rooms.setdefault(endpoint, _Room())


class _Room:
    """One endpoint: its listener, its peers, and what waits for a listener."""

    def __init__(self) -> None:
        self.listener: _MemoryCarrier | None = None
        self.peers: dict[PeerId, _MemoryCarrier] = {}
        self.backlog: deque[tuple[PeerId, list[Frame]]] = deque()


class _MemoryCarrier:
    """Queues what arrives and delivers it on the next turn of the loop, as a socket would."""

    def __init__(self, room: _Room, identity: PeerId, deliver: Deliver, capacity: int) -> None:
        self._room = room
        self._identity = identity
        self._deliver = deliver
        self._capacity = capacity
        self._queue: deque[tuple[PeerId, list[Frame]]] = deque()
        self._is_paused = False
        self._is_closed = False
        self._loop = asyncio.get_running_loop()

    def send(self, peer: PeerId, frames: Sequence[Frame]) -> None:
        if self._is_closed:
            raise ClosedError("the channel is closed")
        copied: list[Frame] = [bytes(frame) for frame in frames]
        if self is not self._room.listener:
            self._send_to_listener(copied)
        elif (target := self._room.peers.get(peer)) is None:
            raise PeerGoneError(f"{peer!r} is not connected")
        else:
            target.push(LISTENER, copied)

    def push(self, sender: PeerId, frames: list[Frame]) -> None:
        if len(self._queue) >= self._capacity:
            raise PeerFullError(f"outbox of {self._identity!r} is full")
        self._queue.append((sender, frames))
        self._loop.call_soon(self._drain)

    def flush_backlog(self) -> None:
        while self._room.backlog:
            self.push(*self._room.backlog.popleft())

    def read_on(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._loop.call_soon(self._drain)

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._room.peers.pop(self._identity, None)
            if self._room.listener is self:
                self._room.listener = None

    def _send_to_listener(self, frames: list[Frame]) -> None:
        if self._room.listener is not None:
            self._room.listener.push(self._identity, frames)
        elif len(self._room.backlog) >= self._capacity:
            raise PeerFullError("nobody listens, and the outbox is full")
        else:
            self._room.backlog.append((self._identity, frames))

    def _drain(self) -> None:
        while self._queue and not self._is_paused and not self._is_closed:
            sender, frames = self._queue.popleft()
            self._is_paused = not self._deliver(sender, frames)
