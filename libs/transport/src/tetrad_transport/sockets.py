"""Every ZeroMQ option, set in one place, and the carriers over ROUTER and DEALER; the only importer of zmq."""

import asyncio
import secrets
import socket as unix
from collections.abc import Sequence
from typing import Final

import zmq

from tetrad_transport.carrier import Deliver, PeerId
from tetrad_transport.channel import Connection, Listener
from tetrad_transport.endpoints import check_endpoint
from tetrad_transport.errors import ClosedError, PeerFullError, PeerGoneError, TransportError
from tetrad_wire.codec import Frame
from tetrad_wire.limits import DEFAULT_LIMITS, Limits

# Below this, copying a frame is cheaper than tracking it.
ZERO_COPY_BYTES: Final = 64 << 10
# Messages per turn of the event loop, so that a flood does not starve timers.
MAX_BURST: Final = 256

# As plain integers: combining zmq's flags anew for each frame would cost more than sending it.
_NOBLOCK: Final = int(zmq.NOBLOCK)
_READABLE: Final = int(zmq.POLLIN)
_NOBLOCK_AND_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)


class ZmqTransport:
    """Channels over ZeroMQ; one per process."""

    def __init__(
        self,
        *,
        limits: Limits = DEFAULT_LIMITS,
        high_water_mark: int = 4096,
        inbox_capacity: int = 4096,
        allow_clear_tcp: bool = False,
    ) -> None:
        self._context = zmq.Context()
        self._limits = limits
        self._high_water_mark = high_water_mark
        self._inbox_capacity = inbox_capacity
        self._allow_clear_tcp = allow_clear_tcp

    def listen(self, endpoint: str) -> Listener:
        """Bind a ROUTER; raise ValueError for an illegal endpoint, TransportError where it cannot be bound."""
        check_endpoint(endpoint, allow_clear_tcp=self._allow_clear_tcp)
        if _is_served(endpoint):
            raise TransportError(f"cannot bind {endpoint}: address already in use")
        socket = self._socket(zmq.ROUTER)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            socket.close(linger=0)
            raise TransportError(f"cannot bind {endpoint}: {error.strerror}") from error
        bound = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        return Listener(
            bound,
            lambda deliver: _SocketCarrier(socket, deliver, is_router=True, max_buffers=self._limits.max_buffers),
            limits=self._limits,
            inbox_capacity=self._inbox_capacity,
        )

    def connect(self, endpoint: str, *, name: str) -> Connection:
        """Connect a DEALER; raise ValueError for an illegal endpoint, TransportError where zmq cannot use it.

        Its identity is `name` and a random suffix, since a repeated one would be ignored. What is sent before
        anybody listens waits in the outbox, up to the high-water mark.
        """
        check_endpoint(endpoint, allow_clear_tcp=self._allow_clear_tcp)
        socket = self._socket(zmq.DEALER)
        socket.setsockopt_string(zmq.IDENTITY, f"{name[:200]}-{secrets.token_hex(4)}")
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            socket.close(linger=0)
            raise TransportError(f"cannot connect to {endpoint}: {error.strerror}") from error
        return Connection(
            lambda deliver: _SocketCarrier(socket, deliver, is_router=False, max_buffers=self._limits.max_buffers),
            limits=self._limits,
            inbox_capacity=self._inbox_capacity,
        )

    def close(self) -> None:
        """Close every socket; call once the ends are closed."""
        self._context.destroy(linger=0)

    def _socket(self, kind: int) -> "zmq.Socket[bytes]":
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, self._high_water_mark)
        socket.setsockopt(zmq.RCVHWM, self._high_water_mark)
        socket.setsockopt(zmq.MAXMSGSIZE, self._limits.max_frame_bytes)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 2000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6000)
        socket.setsockopt(zmq.HEARTBEAT_TTL, 8000)
        socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
        return socket


class _SocketCarrier:
    """Reads a socket whenever its descriptor stirs, and sends without waiting."""

    def __init__(self, socket: "zmq.Socket[bytes]", deliver: Deliver, *, is_router: bool, max_buffers: int) -> None:
        self._socket = socket
        # Identity, header, buffers, and one that says there were more than allowed.
        self._max_frames = max_buffers + 3
        self._deliver = deliver
        self._is_router = is_router
        self._is_paused = False
        self._is_scheduled = False
        self._loop = asyncio.get_running_loop()
        self._descriptor = int(socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._descriptor, self._drain)
        self._schedule()

    def send(self, peer: PeerId, frames: Sequence[Frame]) -> None:
        if self._socket.closed:
            raise ClosedError("the channel is closed")
        parts = [peer, *frames] if self._is_router else list(frames)
        try:
            self._send_parts(parts)
        except zmq.Again:
            raise PeerFullError(f"outbox of {peer!r} is full") from None
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                raise PeerGoneError(f"{peer!r} is not connected") from None
            raise
        finally:
            # The descriptor is edge-triggered: a send, failed or not, may swallow the edge that announced a message.
            if self._is_readable():
                self._schedule()

    def read_on(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._schedule()

    def close(self) -> None:
        if not self._socket.closed:
            self._loop.remove_reader(self._descriptor)
            # A moment for what was just sent, such as a farewell; LINGER bounds it.
            self._socket.close(linger=250)

    def _send_parts(self, parts: list[Frame | PeerId]) -> None:
        last = len(parts) - 1
        is_cut = False
        for position, part in enumerate(parts):
            # A large frame is lent, not copied, if its owner cannot change it while libzmq still reads it.
            is_lent = len(part) >= ZERO_COPY_BYTES and memoryview(part).readonly
            try:
                self._socket.send(part, _NOBLOCK if position == last else _NOBLOCK_AND_MORE, copy=not is_lent)
            except zmq.Again:
                if position == 0:
                    raise
                # The connection went between two frames: libzmq swallows the rest of this message. Hand it over, or
                # it would swallow the next message in its place.
                is_cut = True
        if is_cut:
            raise zmq.Again

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        self._is_scheduled = False
        if self._socket.closed:
            return
        if self._is_paused:
            # Asking takes the wake-up; left there, it would keep the loop spinning.
            self._is_readable()
            return
        for position in range(MAX_BURST):
            frames = self._receive_parts()
            if frames is None:
                return
            peer = PeerId(bytes(frames.pop(0))) if self._is_router else PeerId(b"")
            self._is_paused = not self._deliver(peer, frames)
            if self._is_paused or self._socket.closed:
                return
            # Most wake-ups bring one message, and asking costs less than the exception that ends a longer burst.
            if position == 0 and not self._is_readable():
                return
        self._schedule()

    def _is_readable(self) -> bool:
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & _READABLE)

    def _receive_parts(self) -> list[Frame] | None:
        frames: list[Frame] = []
        try:
            while True:
                # As a Frame, which knows whether more follow; asking the socket costs as much again.
                frame = self._socket.recv(_NOBLOCK, copy=False)
                # The rest of a message with too many frames is read, since it must be, but not kept.
                if len(frames) < self._max_frames:
                    frames.append(frame.bytes if len(frame) < ZERO_COPY_BYTES else frame.buffer)
                if not frame.more:
                    return frames
        except zmq.Again:
            return None


def _is_served(endpoint: str) -> bool:
    """Whether somebody listens at an ipc path; libzmq itself would take the path away from them in silence."""
    scheme, _, path = endpoint.partition("://")
    if scheme != "ipc":
        return False
    with unix.socket(unix.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:
            return True  # its backlog is full
        except OSError:
            return False
    return True
