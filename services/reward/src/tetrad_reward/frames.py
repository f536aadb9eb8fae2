"""How a message lies on a pipe: four bytes of length, then msgpack of plain data. Never pickle.

The one place of the package that knows the codec.
"""

import struct
from collections.abc import Iterator
from typing import Any, Final

from tetrad_wire import Limits, LocalProtocolError
from tetrad_wire.codec import pack, unpack

# First word of a worker; before it, imports are still going on.
READY: Final = "ready"
LENGTH: Final = struct.Struct("<I")
# As large as the header of a wire message, in which the same texts arrive and leave.
MAX_FRAME_BYTES: Final = 4 << 20
# Deeper than the wire allows, because a row's extras lie deeper in a request than in a message.
LIMITS: Final = Limits(max_header_bytes=MAX_FRAME_BYTES, max_depth=64)


class FrameError(ValueError):
    """What lies on the pipe is no frame."""


def frame_of(value: object) -> bytes:
    """Return the frame of plain data or a Struct; raises FrameError if it is too large or no plain data."""
    try:
        body = pack(value, limits=LIMITS)
    except LocalProtocolError as error:
        raise FrameError(str(error)) from error
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"{len(body)} bytes; the limit is {MAX_FRAME_BYTES}")
    return LENGTH.pack(len(body)) + body


class FrameReader:
    """Cuts a stream of bytes into values."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Yield every value that is complete now; raises FrameError or RemoteProtocolError for a broken one."""
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= LENGTH.size:
                (length,) = LENGTH.unpack_from(self._buffer, start)
                if length > MAX_FRAME_BYTES:
                    raise FrameError(f"frame of {length} bytes; the limit is {MAX_FRAME_BYTES}")
                end = start + LENGTH.size + length
                if len(self._buffer) < end:
                    return
                body = bytes(self._buffer[start + LENGTH.size : end])
                start = end
                yield unpack(body, limits=LIMITS)
        finally:
            del self._buffer[:start]
