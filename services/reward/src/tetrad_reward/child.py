"""The worker process: reads requests from one descriptor, answers each before it reads the next.

Started as `python -P -m tetrad_reward.child FD ADDRESS_SPACE_BYTES`. Owns the process's limits. Standard output is
turned to standard error: graders may print, and nothing they print may look like a reply.
"""

import contextlib
import os
import resource
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from tetrad_reward.frames import READY, FrameError, FrameReader, frame_of
from tetrad_reward.host import Host
from tetrad_reward.requests import Answered, Numbered, Reply, crashed
from tetrad_wire.messages.leases import FailureKind

# Room for a grader beyond what the worker itself has mapped.
MIN_ROOM_BYTES: Final = 64 << 20
READ_BYTES: Final = 1 << 16


def main(argv: list[str]) -> int:
    """Serve until the replica closes its end or memory runs out."""
    descriptor, address_space_bytes = int(argv[0]), int(argv[1])
    limit_resources(address_space_bytes)
    os.dup2(2, 1)
    # Last, so that the user's files can be named but never shadow an installed module.
    sys.path.append(str(Path.cwd()))
    with socket.socket(fileno=descriptor) as pipe:
        pipe.set_inheritable(False)
        # The replica closes its end when it leaves or gives us up: nobody is left to be told.
        with contextlib.suppress(ConnectionError):
            pipe.sendall(frame_of(READY))
            serve(pipe)
    return 0


def limit_resources(address_space_bytes: int) -> None:
    """Bound this process's memory and forbid core dumps; 0 leaves memory as it is.

    Raises ValueError where the limit leaves graders less than MIN_ROOM_BYTES.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if address_space_bytes:
        needed = _address_space_in_use() + MIN_ROOM_BYTES
        if address_space_bytes < needed:
            raise ValueError(f"an address space of {address_space_bytes} bytes is too small; it needs {needed}")
        resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes, address_space_bytes))


def _address_space_in_use() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def serve(pipe: socket.socket) -> None:
    """Answer requests one by one, each at once: an answer held back would be lost with the next crash."""
    host = Host()
    for request in _requests(pipe):
        reply = host.handle(request.request)
        pipe.sendall(_frame(request.number, reply, is_last=host.is_exhausted))
        if host.is_exhausted:
            return


def _requests(pipe: socket.socket) -> Iterator[Numbered]:
    reader = FrameReader()
    while data := pipe.recv(READ_BYTES):
        for value in reader.feed(data):
            yield msgspec.convert(value, Numbered)


def _frame(number: int, reply: Reply, *, is_last: bool) -> bytes:
    try:
        return frame_of(Answered(number, reply, is_last))
    except FrameError as error:
        failure = crashed(f"the result cannot travel: {error}", kind=FailureKind.DATA)
        return frame_of(Answered(number, failure, is_last))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
