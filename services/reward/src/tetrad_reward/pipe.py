"""The replica's end of the pipe to one worker.

Not an asyncio transport: that one gives up what is still to be read as soon as a write fails, and the last replies of
a worker that died are worth reading. Owns the socket.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

from tetrad_reward.frames import FrameError, FrameReader
from tetrad_wire import RemoteProtocolError

READ_BYTES: Final = 1 << 18


class Pipe:
    """Sends without waiting and hears each value. All callbacks run on the event loop."""

    def __init__(
        self,
        connected: socket.socket,
        *,
        on_value: Callable[[Any], None],
        on_broken: Callable[[str], None],
        on_end: Callable[[], None],
    ) -> None:
        self._socket = connected
        self._on_value = on_value
        self._on_broken = on_broken
        self._on_end = on_end
        self._unsent = bytearray()
        self._is_closed = False
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader()
        connected.setblocking(False)
        self._loop.add_reader(connected, self._read)

    def send(self, frame: bytes) -> None:
        """Send now what fits, and the rest as the worker reads on. What it never reads is dropped with it."""
        if self._is_closed:
            return
        was_idle = not self._unsent
        self._unsent += frame
        if was_idle:
            self._write()
            if self._unsent:
                self._loop.add_writer(self._socket, self._write)

    def close(self) -> None:
        """Close; idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()

    def _write(self) -> None:
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            return
        except ConnectionError:
            # The worker reads no more; how it ended is for the reading side to find out.
            self._unsent.clear()
        if not self._unsent:
            self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self.close()
            self._on_end()
            return
        try:
            for value in self._reader.feed(data):
                self._on_value(value)
        except (FrameError, RemoteProtocolError) as error:
            self._on_broken(str(error))
