"""The carrier over one ZeroMQ socket: reads whenever its descriptor stirs, and sends without waiting."""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

import zmq

from tetrad_transport.carrier import Deliver, PeerId
from tetrad_transport.errors import ClosedError, PeerFullError, PeerGoneError
from tetrad_transport.keys.role import NOBODY, PublicKey
from tetrad_wire.codec import Frame

# Below this, copying a frame is cheaper than tracking it.
ZERO_COPY_BYTES: Final = 64 << 10
# Messages per turn of the event loop, so that a flood does not starve timers.
MAX_BURST: Final = 256
# Where libzmq keeps what the authentication handler said of the sender, see `zap.py`.
USER_ID: Final = "User-Id"

# As plain integers: combining zmq's flags anew for each frame would cost more than sending it.
_NOBLOCK: Final = int(zmq.NOBLOCK)
_READABLE: Final = int(zmq.POLLIN)
_NOBLOCK_AND_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)


class Attached(Protocol):
    """What watches the socket beside the carrier."""

    def close(self) -> None:
        """Let go of the socket, which is about to be closed."""
        ...


class SocketCarrier:
    """Reads a socket whenever its descriptor stirs, and sends without waiting."""

    def __init__(
        self,
        socket: "zmq.Socket[bytes]",
        deliver: Deliver,
        *,
        is_router: bool,
        max_buffers: int,
        attached: Sequence[Attached] = (),
        has_keys: bool = False,
    ) -> None:
        self._socket = socket
        self._attached = tuple(attached)
        self._has_keys = has_keys
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
        """Hand over frames at once; raise PeerGoneError or PeerFullError."""
        if self._socket.closed:
            raise ClosedError("the channel is closed")
        parts = [peer, *frames] if self._is_router else list(frames)
        try:
            self._send_parts(parts)
        except zmq.Again:
            raise PeerFullError(f"outbox of {_shown(peer)} is full") from None
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                raise PeerGoneError(f"{_shown(peer)} is not connected") from None
            raise
        finally:
            # The descriptor is edge-triggered: a send, failed or not, may swallow the edge that announced a message.
            if self._is_readable():
                self._schedule()

    def read_on(self) -> None:
        """There is room again: deliver what waits."""
        if self._is_paused:
            self._is_paused = False
            self._schedule()

    def close(self) -> None:
        """Close; idempotent."""
        if not self._socket.closed:
            self._loop.remove_reader(self._descriptor)
            for part in self._attached:
                part.close()
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
            received = self._receive_parts()
            if received is None:
                return
            frames, key = received
            peer = PeerId(bytes(frames.pop(0))) if self._is_router else PeerId(b"")
            self._is_paused = not self._deliver(peer, frames, key)
            if self._is_paused or self._socket.closed:
                return
            # Most wake-ups bring one message, and asking costs less than the exception that ends a longer burst.
            if position == 0 and not self._is_readable():
                return
        self._schedule()

    def _is_readable(self) -> bool:
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & _READABLE)

    def _receive_parts(self) -> tuple[list[Frame], PublicKey] | None:
        frames: list[Frame] = []
        try:
            while True:
                # As a Frame, which knows whether more follow; asking the socket costs as much again.
                frame = self._socket.recv(_NOBLOCK, copy=False)
                # The rest of a message with too many frames is read, since it must be, but not kept.
                if len(frames) < self._max_frames:
                    frames.append(frame.bytes if len(frame) < ZERO_COPY_BYTES else frame.buffer)
                if not frame.more:
                    return frames, PublicKey(str(frame.get(USER_ID))) if self._has_keys else NOBODY
        except zmq.Again:
            return None


def _shown(peer: PeerId) -> str:
    """The name in an identity, without the part that nobody else shall know."""
    name, dash, _secret = bytes(peer).rpartition(b"-")
    return repr(name if dash else bytes(peer))
