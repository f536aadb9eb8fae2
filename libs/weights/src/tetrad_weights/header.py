"""The first page of a segment: what it is, which writing of it this is, who owns it. Pure.

The nonce is new each time the owner begins to write: a reader that was promised an older writing stays away.
"""

import struct
from dataclasses import dataclass
from typing import Final

from tetrad_weights.owners import Process

HEADER_BYTES: Final = 4096
"""One page, so that the payload is aligned to pages."""
MAGIC: Final = b"TETRADW1"
NONCE_BYTES: Final = 16
_FORMAT: Final = struct.Struct(f"<8s{NONCE_BYTES}sQQQQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentHeader:
    """What the first page says."""

    nonce: str
    """Hexadecimal."""
    num_bytes: int
    """Of the payload after the header."""
    owner: Process
    pid_namespace: int
    """In which the owner's pid means something."""

    def pack(self) -> bytes:
        """Return the bytes of the first page that matter."""
        nonce = bytes.fromhex(self.nonce)
        return _FORMAT.pack(MAGIC, nonce, self.num_bytes, self.owner.pid, self.owner.started, self.pid_namespace)


def unpack(page: bytes) -> SegmentHeader | None:
    """Read a first page; None if it is not ours."""
    if len(page) < _FORMAT.size:
        return None
    magic, nonce, num_bytes, pid, started, namespace = _FORMAT.unpack_from(page)
    if magic != MAGIC:
        return None
    return SegmentHeader(nonce=nonce.hex(), num_bytes=num_bytes, owner=Process(pid, started), pid_namespace=namespace)
