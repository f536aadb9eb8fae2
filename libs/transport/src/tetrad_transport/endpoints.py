"""Endpoints: parsed once, refused early.

An `ipc://` endpoint is a private file; a `tcp://` one beyond loopback is refused here until keys protect it.
"""

from typing import Final
from urllib.parse import urlsplit

# sun_path holds 108 bytes with its terminator.
MAX_IPC_PATH_BYTES: Final = 107
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})


def check_endpoint(endpoint: str, *, allow_clear_tcp: bool = False) -> str:
    """Return `endpoint`; raise ValueError if it cannot be used, saying why and what to do."""
    scheme, _, rest = endpoint.partition("://")
    match scheme:
        case "ipc":
            _check_ipc(rest)
        case "tcp":
            _check_tcp(endpoint, allow_clear_tcp=allow_clear_tcp)
        case "memory":
            pass
        case _:
            raise ValueError(f"endpoint {endpoint!r}: use ipc://PATH or tcp://HOST:PORT")
    return endpoint


def _check_ipc(path: str) -> None:
    num_bytes = len(path.encode())
    if not 0 < num_bytes <= MAX_IPC_PATH_BYTES:
        raise ValueError(
            f"ipc path of {num_bytes} bytes; it needs 1 to {MAX_IPC_PATH_BYTES}: choose a shorter runtime directory"
        )


def _check_tcp(endpoint: str, *, allow_clear_tcp: bool) -> None:
    host = _host(endpoint)
    if not allow_clear_tcp:
        raise ValueError(
            f"endpoint {endpoint!r} is clear TCP; use ipc:// on one host, or allow it with TETRAD_ALLOW_CLEAR_TCP=1"
        )
    if host not in _LOOPBACK:
        raise ValueError(f"endpoint {endpoint!r} reaches beyond loopback without keys; bind 127.0.0.1")


def _host(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        if parts.hostname and parts.port is not None:
            return parts.hostname
    except ValueError:
        pass  # a port that is no number, or an address whose brackets do not close
    raise ValueError(f"endpoint {endpoint!r}: tcp needs a host and a port, such as tcp://127.0.0.1:5555")
