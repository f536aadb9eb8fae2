"""Golden bytes of the wire: one message of each kind in a file.

Each frame follows its length: 4 bytes, little-endian.
"""

import struct
from collections.abc import Sequence
from typing import Final

from tetrad_testing.builders import BUILDERS, RUN
from tetrad_wire import Message
from tetrad_wire.codec import Frame

_LENGTH: Final = struct.Struct("<I")


def golden_message(kind: str) -> Message:
    """The message of the golden file of `kind`; replies say so."""
    return Message(body=BUILDERS[kind](), id=42, reply_to=41 if kind in _REPLIES else None, run=RUN, epoch=2)


def join(frames: Sequence[Frame]) -> bytes:
    """Put frames into one file.

    >>> join([b"ab", b""])
    b'\\x02\\x00\\x00\\x00ab\\x00\\x00\\x00\\x00'
    """
    return b"".join(_LENGTH.pack(len(frame)) + bytes(frame) for frame in frames)


def split(data: bytes) -> list[bytes]:
    """Take the frames out again; raise ValueError if the last one is cut short.

    >>> split(join([b"ab", b""]))
    [b'ab', b'']
    """
    frames: list[bytes] = []
    position = 0
    while position < len(data):
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        frames.append(data[position : position + length])
        if len(frames[-1]) < length:
            raise ValueError(f"frame of {length} bytes is cut to {len(frames[-1])}")
        position += length
    return frames


_REPLIES: Final = frozenset(
    {
        "desired",
        "run_described",
        "episodes_opened",
        "episodes_refused",
        "episode_stepped",
        "version_accepted",
        "version_chunk",
        "version_offered",
    }
)
