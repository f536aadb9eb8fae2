"""What keys add to the sockets of one transport: who is admitted, and the renewal of both ends.

Owns the watch over the key folder. Knows no message: what a key may say is `gate.py`'s business.
"""

import asyncio
import os
from typing import Final

import zmq

from tetrad_transport.keys.curve import secure_client, secure_server
from tetrad_transport.keys.keyring import Keyring
from tetrad_transport.keys.role import PublicKey
from tetrad_transport.refusal import OnRefusal, Reason, Refusal
from tetrad_transport.socket_events import SocketEvents
from tetrad_transport.zap import ZapHandler

# How soon a change of the key folder is seen.
WATCH_S: Final = 1.0
# A client that was refused tries again this often: its key may be admitted by then. libzmq would not.
RETRY_S: Final = 1.0
# The old listener is closed by another thread; until then the address is in use.
BIND_AGAIN_S: Final = 0.05
_FAILURES: Final = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL


class Security:
    """The keys of one transport, kept up to date while it has sockets."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", keyring: Keyring) -> None:
        self.keyring: Final = keyring
        self._context = context
        self._zap: ZapHandler | None = None
        self._watch: asyncio.Task[None] | None = None
        self._ends: set[SecuredServer | SecuredClient] = set()
        self._listeners: dict[str, OnRefusal] = {}

    def guard(self, socket: "zmq.Socket[bytes]", endpoint: str, *, on_refusal: OnRefusal) -> "SecuredServer":
        """Secure a socket that is about to be bound."""
        self._listeners[endpoint] = on_refusal
        if self._zap is None:
            self._zap = ZapHandler(self._context, self._is_admitted)
        server = SecuredServer(socket, endpoint, self)
        self._keep(server)
        return server

    def introduce(
        self, socket: "zmq.Socket[bytes]", endpoint: str, server_key: PublicKey, *, on_refusal: OnRefusal
    ) -> "SecuredClient":
        """Secure a socket that is about to be connected; without a key of the server, it is the coordinator."""
        client = SecuredClient(socket, endpoint, server_key, self, on_refusal=on_refusal)
        self._keep(client)
        return client

    def forget(self, end: "SecuredServer | SecuredClient") -> None:
        """Its socket is about to be closed."""
        self._ends.discard(end)

    def close(self) -> None:
        """Stop watching; before the context is closed."""
        if self._watch is not None:
            self._watch.cancel()
        if self._zap is not None:
            self._zap.close()

    def _keep(self, end: "SecuredServer | SecuredClient") -> None:
        self._ends.add(end)
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._follow(), name="key-folder")

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            if await asyncio.to_thread(self.keyring.refresh):
                for end in list(self._ends):
                    end.renew()

    def _is_admitted(self, key: PublicKey, address: str, endpoint: str) -> bool:
        if self.keyring.find(key) is not None:
            return True
        reason = Reason.REVOKED_KEY if self.keyring.was_admitted(key) else Reason.UNKNOWN_KEY
        tell = self._listeners.get(endpoint)
        if tell is not None:
            tell(Refusal(reason=reason, endpoint=endpoint, detail="handshake", address=address, key=key))
        return False


class SecuredServer:
    """A bound socket that takes in only whom the keyring admits."""

    def __init__(self, socket: "zmq.Socket[bytes]", endpoint: str, security: Security) -> None:
        self._socket = socket
        self._security = security
        self._endpoint = endpoint
        self._own = security.keyring.own
        secure_server(socket, self._own, domain=endpoint)

    def bound(self, endpoint: str) -> None:
        """Note where it is bound in the end."""
        self._endpoint = endpoint

    def renew(self) -> None:
        """Bind anew with our key of now; every peer has to shake hands again."""
        if self._security.keyring.own == self._own:
            return
        self._own = self._security.keyring.own
        self._socket.unbind(self._endpoint)
        secure_server(self._socket, self._own, domain=self._endpoint)
        self._bind()

    def close(self) -> None:
        """Its socket is about to be closed."""
        self._security.forget(self)

    def _bind(self) -> None:
        if self._socket.closed:
            return
        try:
            self._socket.bind(self._endpoint)
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE:
                raise
            asyncio.get_running_loop().call_later(BIND_AGAIN_S, self._bind)


class SecuredClient:
    """A connected socket that talks only to the server whose key it was told."""

    def __init__(
        self,
        socket: "zmq.Socket[bytes]",
        endpoint: str,
        server_key: PublicKey,
        security: Security,
        *,
        on_refusal: OnRefusal,
    ) -> None:
        self._socket = socket
        self._on_refusal = on_refusal
        self._endpoint = endpoint
        self._server_key = server_key
        self._security = security
        self._retry: asyncio.TimerHandle | None = None
        self._apply()
        self._events = SocketEvents(socket, _FAILURES, self._take)

    def recognise(self, server_key: PublicKey) -> None:
        """The server has another key now."""
        if server_key != self._server_key:
            self._server_key = server_key
            self.renew()

    def renew(self) -> None:
        """Shake hands anew with the keys of now; what was not sent yet is lost."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if not self._socket.closed:
            self._socket.disconnect(self._endpoint)
            self._apply()
            self._socket.connect(self._endpoint)

    def close(self) -> None:
        """Its socket is about to be closed."""
        self._security.forget(self)
        if self._retry is not None:
            self._retry.cancel()
        self._events.close()

    def _apply(self) -> None:
        keyring = self._security.keyring
        secure_client(self._socket, keyring.own, self._server_key or keyring.coordinator)

    def _take(self, event: int, value: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            detail = "it does not admit our key"
            if self._retry is None:
                self._retry = asyncio.get_running_loop().call_later(RETRY_S, self.renew)
        else:
            detail = f"it broke off the handshake ({os.strerror(value)}); is its key another one?"
        refusal = Refusal(
            reason=Reason.NOT_ADMITTED,
            endpoint=self._endpoint,
            detail=detail,
            key=self._security.keyring.own.public_key,
        )
        self._on_refusal(refusal)
