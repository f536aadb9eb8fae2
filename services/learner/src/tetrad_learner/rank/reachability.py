"""Whether ranks reach each other by TCP, and how fast: each listens, and each asks all that are at other addresses.

Ranks at one address are of one host, where no firewall or wrong interface is between them: the exchange of tensors by
every pair, which comes next, is their test. Owns the listener of one rank. Says who could not reach whom, by which
address and interface, and what to look at.
"""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tetrad_learner.rank.parity import RankFacts

CONNECT_TIMEOUT_S: Final = 10.0
# Enough to fill the buffers of a fast link, a tenth of a second on a slow one.
PROBE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a rank answers."""

    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """What asking all others gave."""

    failures: list[str]
    slowest: float
    """Bytes per second of the slowest pair; 0 where nobody is elsewhere."""
    slowest_pair: str = ""
    """Both ranks of it."""


@contextmanager
def listening(address: str, nonce: str) -> Iterator[Listening]:
    """Answer each probe with the nonce within the block."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(CONNECT_TIMEOUT_S)
            if _read(self.request, PROBE_BYTES) == PROBE_BYTES:
                self.request.sendall(nonce.encode())

    class Server(socketserver.ThreadingTCPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        daemon_threads = True
        request_queue_size = 1024

    with Server((address, 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, name="self-test", daemon=True)
        thread.start()
        try:
            yield Listening(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def ask_all(me: RankFacts, everyone: Sequence[RankFacts]) -> Reached:
    """Ask every rank at another address than mine."""
    failures, slowest, slowest_pair = [], 0.0, ""
    for other in everyone:
        if other.address == me.address:
            continue
        try:
            speed = _ask(other)
        except OSError as error:
            failures.append(_unreachable(me, other, error))
        else:
            if not slowest or speed < slowest:
                slowest, slowest_pair = speed, f"{me} and {other}"
    return Reached(failures=failures, slowest=slowest, slowest_pair=slowest_pair)


def _ask(other: RankFacts) -> float:
    with socket.create_connection((other.address, other.port), timeout=CONNECT_TIMEOUT_S) as connection:
        began = time.monotonic()
        connection.sendall(bytes(PROBE_BYTES))
        answer = connection.recv(len(other.nonce), socket.MSG_WAITALL)
        seconds = time.monotonic() - began
    if answer.decode(errors="replace") != other.nonce:
        raise ConnectionError("somebody else answers there")
    return PROBE_BYTES / seconds


def _unreachable(me: RankFacts, other: RankFacts, error: OSError) -> str:
    return (
        f"{me} cannot reach {other} at port {other.port}: {error or type(error).__name__}; open all TCP ports between "
        "the two hosts, or name interfaces that reach each other in GLOO_SOCKET_IFNAME (and NCCL_SOCKET_IFNAME) there"
    )


def _read(connection: socket.socket, num_bytes: int) -> int:
    """Read so many bytes, or up to the end; return how many came."""
    num_read = 0
    while num_read < num_bytes and (chunk := connection.recv(min(1 << 16, num_bytes - num_read))):
        num_read += len(chunk)
    return num_read
