"""One message: a header frame and its buffers."""

from dataclasses import dataclass

import msgspec

from tetrad_wire.ids import NO_EPOCH


class BufferSpec(msgspec.Struct, frozen=True):
    """Element type and shape of one buffer frame."""

    dtype: str
    """An element type that the protocol has."""
    shape: tuple[int, ...]
    """Elements along each axis."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first frame of a message."""

    v: int
    """Protocol version of the sender."""
    kind: str
    """What the message says: a name of the catalogue."""
    id: int
    """Number of this message among those of its sender's incarnation."""
    run: str = ""
    """Run id; empty before the sender knows it."""
    epoch: int = NO_EPOCH
    """Coordinator epoch that the sender has last seen."""
    reply_to: int | None = None
    """`id` of the request that this answers."""
    body: dict[str, object]
    """Fields of the message, arrays replaced by the index of their buffer."""
    buffers: tuple[BufferSpec, ...] = ()
    """What the frames after this one hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A decoded message: what was said, and the envelope it came in."""

    body: msgspec.Struct
    """One of the classes of `catalog.KINDS`."""
    id: int = 0
    reply_to: int | None = None
    run: str = ""
    epoch: int = NO_EPOCH
