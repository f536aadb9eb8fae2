"""Shared-memory segments, the reader's side: prove that a segment is the one that was promised, and map it.

A reading lasts as long as its shared lock. Maps outlive readings, since mapping a gigabyte costs half as much as
copying it and an exporter offers the same few segments again and again.
"""

import fcntl
import mmap
import os
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import numpy as np

from tetrad_weights.digest import Bytes
from tetrad_weights.errors import TransportUnusableError
from tetrad_weights.header import HEADER_BYTES, SegmentHeader, unpack
from tetrad_weights.locks import try_lock, unlock
from tetrad_weights.segments import DIRECTORY, NAME, unmap
from tetrad_wire.messages.weights import SegmentHandle

# The rings of two exporters: the present one and the one that it replaced.
MAX_MAPS: Final = 4


class Attachment:
    """One reading: `with maps.attach(handle) as attachment: ... attachment.payload ...`."""

    def __init__(self, mapped: mmap.mmap, header: SegmentHeader, release: Callable[[], None]) -> None:
        self.header = header
        self._map: mmap.mmap | None = mapped
        self._release = release

    @property
    def payload(self) -> Bytes:
        """The bytes, read-only: uint8[handle.num_bytes]. Not to be touched after closing: the owner may write then."""
        if self._map is None:
            raise ValueError("this reading is over")
        return np.frombuffer(self._map, dtype=np.uint8, offset=HEADER_BYTES)

    def close(self) -> None:
        """End the reading; idempotent."""
        if self._map is not None:
            self._map = None
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Maps:
    """Segments that one reader has mapped, for one thread: one reading at a time."""

    def __init__(self) -> None:
        self._maps: dict[str, _Map] = {}

    def __len__(self) -> int:
        """Segments mapped now."""
        return len(self._maps)

    def prove(self, handle: SegmentHandle) -> None:
        """Read the promised nonce back, without mapping anything; raises like `attach`."""
        self._opened(handle).prove(handle)

    def attach(self, handle: SegmentHandle) -> Attachment:
        """Begin a reading.

        Raises TransportUnusableError if the segment is not there, is being written, has another size or another
        nonce than was promised.
        """
        return self._opened(handle).read(handle)

    def close(self) -> None:
        """Unmap everything; idempotent."""
        while self._maps:
            self._maps.popitem()[1].close()

    def _opened(self, handle: SegmentHandle) -> "_Map":
        self._forget_removed()
        known = self._maps.pop(handle.name, None) or _Map(handle)
        # Last in, so that the one used the longest time ago is the first.
        self._maps[handle.name] = known
        while len(self._maps) > MAX_MAPS:
            self._maps.pop(next(iter(self._maps))).close()
        return known

    def _forget_removed(self) -> None:
        # The map of a removed segment holds on to its memory.
        for name in [name for name, known in self._maps.items() if not known.is_named(name)]:
            self._maps.pop(name).close()


def attach(handle: SegmentHandle) -> Attachment:
    """Begin a single reading whose map goes with it; raises like `Maps.attach`."""
    known = _Map(handle)
    try:
        return known.read(handle, release=known.close)
    except BaseException:
        known.close()
        raise


class _Map:
    """One segment's file, opened, and mapped from its first reading on."""

    def __init__(self, handle: SegmentHandle) -> None:
        if not NAME.fullmatch(handle.name):
            raise TransportUnusableError(segment=handle.name, reason="that is no name of a segment")
        try:
            self._descriptor = os.open(DIRECTORY / handle.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise TransportUnusableError(segment=handle.name, reason=str(error.strerror)) from None
        self._inode = os.fstat(self._descriptor).st_ino
        self._map: mmap.mmap | None = None

    def is_named(self, name: str) -> bool:
        """Whether the name still leads to this file."""
        try:
            return (DIRECTORY / name).stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def prove(self, handle: SegmentHandle) -> None:
        self._lock(handle)
        unlock(self._descriptor)

    def read(self, handle: SegmentHandle, *, release: Callable[[], None] | None = None) -> Attachment:
        header = self._lock(handle)
        try:
            return Attachment(self._mapped(), header, release or (lambda: unlock(self._descriptor)))
        except BaseException:
            unlock(self._descriptor)
            raise

    def close(self) -> None:
        if self._map is not None:
            unmap(self._map)
        os.close(self._descriptor)

    def _lock(self, handle: SegmentHandle) -> SegmentHeader:
        if not try_lock(self._descriptor, fcntl.LOCK_SH):
            raise TransportUnusableError(segment=handle.name, reason="its owner is writing it")
        try:
            return self._proved(handle)
        except BaseException:
            unlock(self._descriptor)
            raise

    def _proved(self, handle: SegmentHandle) -> SegmentHeader:
        size, promised = os.fstat(self._descriptor).st_size, HEADER_BYTES + handle.num_bytes
        if size != promised:
            raise TransportUnusableError(segment=handle.name, reason=f"it has {size} bytes; {promised} were promised")
        # Read only after the lock: from here on the owner cannot write any more.
        header = unpack(os.pread(self._descriptor, HEADER_BYTES, 0))
        if header is None:
            raise TransportUnusableError(segment=handle.name, reason="it does not begin like a segment of weights")
        if header.nonce != handle.nonce:
            raise TransportUnusableError(segment=handle.name, reason="it has been written anew since it was promised")
        return header

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
            self._map = mmap.mmap(self._descriptor, 0, flags=flags, prot=mmap.PROT_READ)
        return self._map
