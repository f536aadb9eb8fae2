"""A local socket of a running service, made slow: what the service says trickles, and what it hears does not.

Takes the socket's place in its folder, so that only connections that are made from then on go through it.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

READ_BYTES = 4 << 10
BEHIND = ".behind"


class SlowSocket:
    """Forwards bytes in threads of its own, as the test itself waits."""

    def __init__(self, path: Path) -> None:
        self._path, self._behind = path, path.with_name(path.name + BEHIND)
        self._listener = socket.socket(socket.AF_UNIX)
        self._ends: list[socket.socket] = []
        self.pause_s = 0.0
        """Before each 4 KiB of the service."""
        self.num_bytes = 0
        """Of the service that have passed."""

    def open(self) -> None:
        """Stand before the service."""
        self._path.rename(self._behind)
        self._listener.bind(str(self._path))
        self._listener.listen()
        _thread(self._accept)

    def close(self) -> None:
        """Let everybody through to the service again; those who are connected connect anew."""
        self._behind.replace(self._path)
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _address = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                self._ends += [near, far]
                far.connect(str(self._behind))
                _thread(self._forward, near, far)
                _thread(self._return, far, near)

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(READ_BYTES):
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)

    def _return(self, far: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(READ_BYTES):
                time.sleep(self.pause_s)
                near.sendall(data)
                self.num_bytes += len(data)
            near.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def slowed(path: Path) -> Iterator[SlowSocket]:
    """The socket of a service, which can be made slow within the block."""
    slow = SlowSocket(path)
    slow.open()
    try:
        yield slow
    finally:
        slow.close()


def _thread(work: Callable[..., None], *arguments: socket.socket) -> None:
    threading.Thread(target=work, args=arguments, name="slow-socket", daemon=True).start()
