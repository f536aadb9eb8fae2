"""Asks a service of this machine for a page.

Owns no state. asyncio only: a probe in a thread would make the launcher's forks unsafe.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Final

MAX_PAGE_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Page:
    """An HTTP answer."""

    status: int
    body: bytes

    @property
    def is_ok(self) -> bool:
        """Whether the status is 200."""
        return self.status == 200

    def fields(self) -> dict[str, object]:
        """Return the JSON object of the body; empty where it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


async def get(port: int, path: str, *, deadline_s: float = 2.0) -> Page | None:
    """Fetch a page from 127.0.0.1; None when nobody answers in time or not with HTTP."""
    try:
        async with asyncio.timeout(deadline_s):
            return _parse(await _exchange(port, path))
    except (OSError, TimeoutError, EOFError):
        return None


async def _exchange(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        reply = b""
        while chunk := await reader.read(1 << 16):
            reply += chunk
            if len(reply) > MAX_PAGE_BYTES:
                raise EOFError(f"page exceeds {MAX_PAGE_BYTES} bytes")
        return reply
    finally:
        writer.close()


def _parse(reply: bytes) -> Page | None:
    head, _, body = reply.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return None
    return Page(int(words[1]), body)
