"""A small HTTP server with three pages, `/metrics`, `/healthz` and `/readyz`, and those that a service adds.

Owns one listening socket. The pages come from callables; it knows neither metrics nor services.
Every request has a deadline and a size limit, because a scraper is a stranger.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final

from tetrad_telemetry.logs import get_logger

MAX_REQUEST_BYTES: Final = 8192
REQUEST_DEADLINE_S: Final = 5.0
# More open connections than this are a fault of the scraper; further ones are closed at once.
MAX_CONNECTIONS: Final = 64
TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
JSON: Final = "application/json"


log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """The answer of a health or readiness check."""

    ok: bool
    detail: str
    """What the process is doing or waiting for, for the person who reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Where the pages come from; each is called once per request, on the event loop."""

    metrics: Callable[[], bytes]
    health: Callable[[], Health]
    readiness: Callable[[], Health]
    others: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    """Pages of this service alone, as JSON, by path."""


@dataclass(frozen=True, slots=True)
class Response:
    """One answer."""

    status: HTTPStatus
    body: bytes
    content_type: str = JSON

    def encode(self, *, with_body: bool = True) -> bytes:
        """Return the bytes of HTTP/1.1; the connection closes after them."""
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n"
            f"Content-Type: {self.content_type}\r\nContent-Length: {len(self.body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (self.body if with_body else b"")


@asynccontextmanager
async def serve(pages: Pages, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Serve the pages within the block and yield the bound port; port 0 takes any free one.

    Raises OSError when the port is taken.
    """
    if not is_loopback(host):
        log.warning("pages_open_to_the_network", host=host, reason="metrics_host is beyond loopback; anybody may read")
    visits = _Visits(pages)
    server = await asyncio.start_server(visits.receive, host, port, limit=MAX_REQUEST_BYTES)
    try:
        async with server:
            yield int(server.sockets[0].getsockname()[1])
    finally:
        await visits.end()


def is_loopback(host: str) -> bool:
    """Whether an address is this host alone.

    >>> is_loopback("127.0.0.2"), is_loopback("0.0.0.0"), is_loopback("")
    (True, False, False)
    """
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def answer(request: bytes, pages: Pages) -> bytes:
    """Return the reply to the head of one request. Pure but for the page's own callable."""
    try:
        method, target, _version = request.split(b"\r\n", 1)[0].decode("ascii").split(" ")
    except (UnicodeDecodeError, ValueError):
        return _problem(HTTPStatus.BAD_REQUEST, "not an HTTP request").encode()
    if method not in {"GET", "HEAD"}:
        return _problem(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not served; use GET").encode()
    return _page(target.split("?", 1)[0], pages).encode(with_body=method == "GET")


def _page(path: str, pages: Pages) -> Response:
    match path:
        case "/metrics":
            return Response(HTTPStatus.OK, pages.metrics(), TEXT)
        case "/healthz":
            return _verdict(pages.health())
        case "/readyz":
            return _verdict(pages.readiness())
        case other if other in pages.others:
            return Response(HTTPStatus.OK, pages.others[other]())
        case _:
            more = "".join(f"{name}, " for name in pages.others)
            return _problem(HTTPStatus.NOT_FOUND, f"pages are {more}/metrics, /healthz and /readyz")


def _verdict(health: Health) -> Response:
    status = HTTPStatus.OK if health.ok else HTTPStatus.SERVICE_UNAVAILABLE
    # The pid lets whoever chose the port see that it is this process that answers on it.
    return Response(status, json.dumps({"ok": health.ok, "detail": health.detail, "pid": os.getpid()}).encode())


def _problem(status: HTTPStatus, detail: str) -> Response:
    return Response(status, json.dumps({"ok": False, "detail": detail}).encode())


class _Visits:
    """The open connections."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if len(self._open) >= MAX_CONNECTIONS or task is None:
            writer.transport.abort()
            return
        self._open[writer] = task
        try:
            async with asyncio.timeout(REQUEST_DEADLINE_S):
                writer.write(await _reply(self._pages, reader))
                await writer.drain()
        except (TimeoutError, ConnectionError):
            writer.transport.abort()  # the peer is slow or gone; there is nobody to tell
        finally:
            writer.close()
            del self._open[writer]

    async def end(self) -> None:
        """Hang up on whoever is still there."""
        tasks = list(self._open.values())
        for writer in self._open:
            writer.transport.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=REQUEST_DEADLINE_S)


async def _reply(pages: Pages, reader: asyncio.StreamReader) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        return _problem(status, f"request exceeds {MAX_REQUEST_BYTES} bytes").encode()
    except asyncio.IncompleteReadError:
        return _problem(HTTPStatus.BAD_REQUEST, "request ended early").encode()
    return answer(head, pages)
