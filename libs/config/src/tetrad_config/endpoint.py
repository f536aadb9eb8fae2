"""Endpoint: addresses of sockets, checked where they enter."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator

MAX_IPC_PATH_BYTES: Final = 107
"""Unix sockets have 108 bytes for their name, one of them for the end (unix(7))."""
_TCP: Final = re.compile(r"^tcp://(?:\[[0-9a-fA-F:]+\]|[^\s:/]+):(?P<port>\d+|\*)$")


def _is_ipc_path(path: str) -> None:
    size = len(path.encode())
    if not 0 < size <= MAX_IPC_PATH_BYTES:
        raise ValueError(f"an ipc path has 1 to {MAX_IPC_PATH_BYTES} bytes, this one {size}; choose a shorter folder")


def _is_tcp(endpoint: str) -> None:
    match = _TCP.match(endpoint)
    if match is None or (match["port"] != "*" and int(match["port"]) > 65535):
        raise ValueError("a tcp endpoint is tcp://HOST:PORT with a port of at most 65535")


def _is_endpoint(endpoint: str) -> str:
    scheme, separator, rest = endpoint.partition("://")
    match scheme if separator else "":
        case "ipc":
            _is_ipc_path(rest)
        case "tcp":
            _is_tcp(endpoint)
        case "inproc" if rest:
            pass
        case _:
            raise ValueError("an endpoint is ipc://PATH, tcp://HOST:PORT or inproc://NAME")
    return endpoint


Endpoint = Annotated[str, AfterValidator(_is_endpoint)]
"""`ipc://PATH`, `tcp://HOST:PORT` or `inproc://NAME`."""
