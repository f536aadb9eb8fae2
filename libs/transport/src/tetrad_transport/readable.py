"""Calls back with what a helping socket of a context receives; never blocks the event loop."""

import asyncio
from collections.abc import Callable
from typing import Final

import zmq

# Per turn of the event loop: what strangers cause must not starve the work.
MAX_BURST: Final = 64


class Readable:
    """Reads one socket whenever its descriptor stirs, and closes it in the end."""

    def __init__(self, socket: "zmq.Socket[bytes]", take: Callable[[list[bytes]], None]) -> None:
        self.socket: Final = socket
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._descriptor = int(socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._descriptor, self._drain)
        self._loop.call_soon(self._drain)

    def close(self) -> None:
        """Close the socket; idempotent."""
        if not self.socket.closed:
            self._loop.remove_reader(self._descriptor)
            self.socket.close(linger=0)

    def _drain(self) -> None:
        for _ in range(MAX_BURST):
            if self.socket.closed or not int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                return
            self._take(self.socket.recv_multipart(zmq.NOBLOCK))
        self._loop.call_soon(self._drain)
