"""Endpoints: parsed once, refused early.

An `ipc://` endpoint is a private file. A `tcp://` one needs keys, or stays on this host by an explicit word.
"""

import os
import stat
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

# sun_path holds 108 bytes with its terminator.
MAX_IPC_PATH_BYTES: Final = 107
_OTHERS: Final = 0o077
ANY_PORT: Final = ":*"


def check_endpoint(
    endpoint: str, *, allow_clear_tcp: bool = False, has_keys: bool = False, is_bound: bool = False
) -> str:
    """Return `endpoint`; raise ValueError if it cannot be used, saying why and what to do.

    One that is bound here may leave the port to the system: `tcp://127.0.0.1:*`.
    """
    scheme, _, rest = endpoint.partition("://")
    match scheme:
        case "ipc":
            _check_ipc(rest)
        case "tcp":
            host = _host(
                f"{endpoint.removesuffix(ANY_PORT)}:0" if is_bound and endpoint.endswith(ANY_PORT) else endpoint
            )
            _check_tcp(endpoint, host, allow_clear_tcp=allow_clear_tcp, has_keys=has_keys)
        case "memory":
            pass
        case _:
            raise ValueError(f"endpoint {endpoint!r}: use ipc://PATH or tcp://HOST:PORT")
    return endpoint


def check_private(endpoint: str) -> None:
    """Raise ValueError if others of this host could reach, or replace, the file of an ipc endpoint."""
    scheme, _, path = endpoint.partition("://")
    folder = Path(path).parent
    if scheme != "ipc" or not folder.is_dir():
        return
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise ValueError(f"endpoint {endpoint!r}: {folder} belongs to user {found.st_uid}; use a folder of your own")
    mode = stat.S_IMODE(found.st_mode)
    if mode & _OTHERS:
        raise ValueError(f"endpoint {endpoint!r}: {folder} has mode {mode:04o}, open to others; chmod 700 {folder}")


def is_tcp(endpoint: str) -> bool:
    """Whether it is reached over TCP."""
    return endpoint.startswith("tcp://")


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this host alone, whatever the resolver says.

    >>> is_loopback("127.0.0.2"), is_loopback("0.0.0.0"), is_loopback("127.0.0.1.example")
    (True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_of(endpoint: str) -> str:
    """Return the host of a `tcp://` endpoint; raise ValueError where it names none."""
    return _host(endpoint)


def _check_ipc(path: str) -> None:
    num_bytes = len(path.encode())
    if not 0 < num_bytes <= MAX_IPC_PATH_BYTES:
        raise ValueError(
            f"ipc path of {num_bytes} bytes; it needs 1 to {MAX_IPC_PATH_BYTES}: choose a shorter runtime directory"
        )


def _check_tcp(endpoint: str, host: str, *, allow_clear_tcp: bool, has_keys: bool) -> None:
    if has_keys:
        return
    if not is_loopback(host):
        raise ValueError(
            f"endpoint {endpoint!r} reaches beyond loopback without keys; make keys with `tetrad keys init` and name "
            "their folder in TETRAD_KEYS, or stay on 127.0.0.1"
        )
    if not allow_clear_tcp:
        raise ValueError(
            f"endpoint {endpoint!r} is clear TCP; use ipc:// on one host, name a folder of keys in TETRAD_KEYS, or "
            "allow it with TETRAD_ALLOW_CLEAR_TCP=1"
        )


def _host(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        if parts.hostname and parts.port is not None:
            return parts.hostname
    except ValueError:
        pass  # a port that is no number, or an address whose brackets do not close
    raise ValueError(f"endpoint {endpoint!r}: tcp needs a host and a port, such as tcp://127.0.0.1:5555")
