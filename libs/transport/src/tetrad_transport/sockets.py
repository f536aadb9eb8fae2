"""Every ZeroMQ option, set in one place, and the transport over ROUTER and DEALER.

zmq is imported here and in what this is made of: `socket_carrier`, `secured`, `zap`, `doorway`, `readable` and
`keys.curve`.
"""

import secrets
import socket as unix
from collections.abc import Callable, Sequence
from typing import Final

import zmq

from tetrad_transport.channel import Connection, Listener
from tetrad_transport.doorway import HANDSHAKE_S, Doorway
from tetrad_transport.endpoints import check_endpoint, check_private, is_tcp
from tetrad_transport.errors import TransportError
from tetrad_transport.guard import Guard
from tetrad_transport.keys.keyring import Keyring
from tetrad_transport.keys.role import NOBODY, PublicKey
from tetrad_transport.refusal import OnRefusal, Refusal
from tetrad_transport.secured import SecuredClient, Security
from tetrad_transport.socket_carrier import ZERO_COPY_BYTES, Attached, SocketCarrier
from tetrad_transport.statistics import ChannelStatistics
from tetrad_wire.limits import DEFAULT_LIMITS, Limits

__all__ = ["ZERO_COPY_BYTES", "ZmqTransport"]

# Of the random part of an identity. Whoever connects under the identity of another gets its mail: nobody may guess it.
IDENTITY_BYTES: Final = 16


class ZmqTransport:
    """Channels over ZeroMQ; one per process. With a keyring, everything over TCP is under CURVE."""

    def __init__(
        self,
        *,
        limits: Limits = DEFAULT_LIMITS,
        high_water_mark: int = 4096,
        inbox_capacity: int = 4096,
        allow_clear_tcp: bool = False,
        keyring: Keyring | None = None,
        on_refusal: OnRefusal = lambda _refusal: None,
    ) -> None:
        self._context = zmq.Context()
        self._limits = limits
        self._high_water_mark = high_water_mark
        self._inbox_capacity = inbox_capacity
        self._allow_clear_tcp = allow_clear_tcp
        self._on_refusal = on_refusal
        self._security = None if keyring is None else Security(self._context, keyring)

    def listen(self, endpoint: str) -> Listener:
        """Bind a ROUTER; raise ValueError for an illegal endpoint, TransportError where it cannot be bound."""
        self._check(endpoint, is_bound=True)
        check_private(endpoint)
        if _is_served(endpoint):
            raise TransportError(f"cannot bind {endpoint}: address already in use")
        socket = self._socket(zmq.ROUTER)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        security = self._security_of(endpoint)
        statistics = ChannelStatistics()
        tell = self._teller(statistics)
        server = None if security is None else security.guard(socket, endpoint, on_refusal=tell)
        doorway = Doorway(socket, endpoint, on_refusal=tell) if is_tcp(endpoint) else None
        attached: list[Attached] = [part for part in (server, doorway) if part is not None]
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            _close(socket, attached)
            raise TransportError(f"cannot bind {endpoint}: {error.strerror}") from error
        bound = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        if server is not None:
            server.bound(bound)
        return Listener(
            bound,
            lambda deliver: SocketCarrier(
                socket,
                deliver,
                is_router=True,
                max_buffers=self._limits.max_buffers,
                attached=attached,
                has_keys=security is not None,
            ),
            limits=self._limits,
            inbox_capacity=self._inbox_capacity,
            guard=None if security is None else Guard(security.keyring, bound, on_refusal=tell),
            statistics=statistics,
        )

    def connect(self, endpoint: str, *, name: str, server_key: PublicKey = NOBODY) -> Connection:
        """Connect a DEALER; raise ValueError for an illegal endpoint, TransportError where zmq cannot use it.

        Its identity is `name` and a random suffix, since a repeated one would be ignored. What is sent before
        anybody listens waits in the outbox, up to the high-water mark. With keys, `server_key` is that of whoever
        listens there, as the coordinator said; without one it is the coordinator itself.
        """
        self._check(endpoint)
        socket = self._socket(zmq.DEALER)
        socket.setsockopt_string(zmq.IDENTITY, f"{name[:200]}-{secrets.token_hex(IDENTITY_BYTES)}")
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
        security = self._security_of(endpoint)
        statistics = ChannelStatistics()
        tell = self._teller(statistics)
        client = None if security is None else security.introduce(socket, endpoint, server_key, on_refusal=tell)
        attached: list[Attached] = [] if client is None else [client]
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            _close(socket, attached)
            raise TransportError(f"cannot connect to {endpoint}: {error.strerror}") from error
        return Connection(
            lambda deliver: SocketCarrier(
                socket, deliver, is_router=False, max_buffers=self._limits.max_buffers, attached=attached
            ),
            limits=self._limits,
            inbox_capacity=self._inbox_capacity,
            recognise=_recognise_of(client),
            statistics=statistics,
        )

    def close(self) -> None:
        """Close every socket; call once the ends are closed."""
        if self._security is not None:
            self._security.close()
        self._context.destroy(linger=0)

    def _check(self, endpoint: str, *, is_bound: bool = False) -> None:
        has_keys = self._security is not None
        check_endpoint(endpoint, allow_clear_tcp=self._allow_clear_tcp, has_keys=has_keys, is_bound=is_bound)

    def _security_of(self, endpoint: str) -> Security | None:
        # Who may open the file of an ipc endpoint is said by its folder: the same user, and nobody else.
        return self._security if is_tcp(endpoint) else None

    def _teller(self, statistics: ChannelStatistics) -> OnRefusal:
        def tell(refusal: Refusal) -> None:
            statistics.refusals[refusal.reason.value] += 1
            self._on_refusal(refusal)

        return tell

    def _socket(self, kind: int) -> "zmq.Socket[bytes]":
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, self._high_water_mark)
        socket.setsockopt(zmq.RCVHWM, self._high_water_mark)
        socket.setsockopt(zmq.MAXMSGSIZE, self._limits.max_frame_bytes)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 2000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6000)
        socket.setsockopt(zmq.HEARTBEAT_TTL, 8000)
        socket.setsockopt(zmq.HANDSHAKE_IVL, int(HANDSHAKE_S * 1000))
        return socket


def _recognise_of(client: SecuredClient | None) -> Callable[[PublicKey], None]:
    return client.recognise if client is not None else lambda _key: None


def _close(socket: "zmq.Socket[bytes]", attached: Sequence[Attached]) -> None:
    for part in attached:
        part.close()
    socket.close(linger=0)


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
