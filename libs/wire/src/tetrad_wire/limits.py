"""How large and how deep a message may be."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one message; a frame beyond them is refused before it is decoded."""

    max_header_bytes: int = 4 << 20
    """Size of the header frame, in bytes."""
    max_frame_bytes: int = 64 << 20
    """Size of any single buffer frame, in bytes; also libzmq's MAXMSGSIZE."""
    max_buffers: int = 64
    """Buffers in one message."""
    max_depth: int = 32
    """Nesting of maps and arrays in the header."""


DEFAULT_LIMITS: Final = Limits()
