"""A network between an engine and the broadcaster that can be made slow, wrong or dead."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

READ_BYTES = 64 << 10


class TcpProxy:
    """Forwards bytes; what comes from the broadcaster can be damaged, throttled and held up."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._is_open = asyncio.Event()
        self._is_open.set()
        self.pause_s = 0.0
        """Before each 64 KiB."""
        self.flip_at: int | None = None
        """Bytes from now on after which one bit is flipped, once."""
        self.num_bytes = 0
        """Forwarded from the broadcaster."""

    @property
    def endpoint(self) -> str:
        assert self._server is not None
        return f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0, limit=READ_BYTES)

    def hold(self) -> None:
        """Let nothing more through from the broadcaster."""
        self._is_open.clear()

    def let_go(self) -> None:
        self._is_open.set()

    def cut(self) -> None:
        """Break every connection; new ones are taken."""
        while self._writers:
            self._writers.pop().transport.abort()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self._is_open.set()
        self.cut()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._target.hostname, self._target.port
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port, limit=READ_BYTES)
        except OSError:
            # Nobody listens there now; the engine shall see that at once.
            writer.close()
            return
        self._writers += [writer, far_writer]
        await asyncio.gather(self._forward(reader, far_writer), self._return(far_reader, writer))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(READ_BYTES):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _return(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(READ_BYTES):
                await self._is_open.wait()
                await asyncio.sleep(self.pause_s)
                writer.write(self._damaged(data))
                await writer.drain()
                self.num_bytes += len(data)
        writer.close()

    def _damaged(self, data: bytes) -> bytes:
        if self.flip_at is None:
            return data
        if self.flip_at >= len(data):
            self.flip_at -= len(data)
            return data
        position, self.flip_at = self.flip_at, None
        return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


@contextlib.asynccontextmanager
async def a_proxy(target: str) -> AsyncIterator[TcpProxy]:
    """A proxy before `target`, a tcp endpoint."""
    proxy = TcpProxy(target)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
