"""Shared-memory segments, the owner's side: a file in memory that its exporter writes and importers map.

Who may touch the bytes is decided by the kernel: an importer holds a shared lock on the file while it has it mapped,
the owner takes the exclusive one before it writes. A process that dies loses its lock, whatever it died of, so the
owner can neither write under a reader nor wait for a dead one. What a reader must have been promised is the nonce.
"""

import contextlib
import errno
import fcntl
import mmap
import os
import re
import secrets
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from tetrad_weights.digest import Bytes
from tetrad_weights.errors import SegmentAllocationError, TransportUnusableError
from tetrad_weights.header import HEADER_BYTES, NONCE_BYTES, SegmentHeader
from tetrad_weights.locks import try_lock, unlock
from tetrad_weights.owners import pid_namespace, this_process
from tetrad_wire.messages.weights import SegmentHandle

DIRECTORY: Final = Path("/dev/shm")  # noqa: S108 - POSIX shared memory; names are random and files are 0600
NAME: Final = re.compile(r"tetrad\.[A-Za-z0-9_-]{0,100}\.[A-Za-z0-9_-]{1,64}\.[0-9]{1,9}")
"""What a segment may be called; whatever comes over a wire must match before it becomes a path."""
_OUT_OF_ROOM: Final = frozenset({errno.ENOSPC, errno.ENOMEM, errno.EDQUOT, errno.EFBIG})


@contextlib.contextmanager
def written_for_owner(handle: SegmentHandle) -> Iterator[Bytes]:
    """Within the body, the payload of another process's segment, to be written; its owner holds the lock meanwhile.

    Raises TransportUnusableError where there is no such segment.
    """
    if not NAME.fullmatch(handle.name):
        raise TransportUnusableError(segment=handle.name, reason="that is no name of a segment")
    try:
        descriptor = os.open(DIRECTORY / handle.name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise TransportUnusableError(segment=handle.name, reason=str(error.strerror)) from None
    try:
        mapped = mmap.mmap(descriptor, HEADER_BYTES + handle.num_bytes, flags=mmap.MAP_SHARED)
    finally:
        os.close(descriptor)
    try:
        yield np.frombuffer(mapped, dtype=np.uint8, offset=HEADER_BYTES)
    finally:
        unmap(mapped)


def segment_name(*, run: str, incarnation: str, ordinal: int) -> str:
    """Name a segment after its run and its owner's incarnation; what a file name cannot hold becomes `_`.

    >>> segment_name(run="demo/1", incarnation="ab12", ordinal=0)
    'tetrad.demo_1.ab12.0'
    """
    return f"tetrad.{run_part(run)}.{re.sub('[^A-Za-z0-9_-]', '_', incarnation)[:64]}.{ordinal}"


def run_part(run: str) -> str:
    """The part of a segment's name that says its run."""
    return re.sub("[^A-Za-z0-9_-]", "_", run)[:100]


class Segment:
    """The owner's side. Locked for writing from its making on; `end_writing` lets readers in.

    The memory is reserved in full at once, so that a later write cannot fail for want of it. Closing removes the
    name; the memory goes when the last reader has closed it too.
    """

    def __init__(self, name: str, num_bytes: int) -> None:
        self.name = name
        self.num_bytes = num_bytes
        """Of the payload."""
        self._descriptor = _create(name, HEADER_BYTES + num_bytes)
        self._is_closed = False
        # Populated here: faulting page by page while copying is several times slower than the copy.
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        self._map = mmap.mmap(self._descriptor, HEADER_BYTES + num_bytes, flags=flags)
        self._renew_nonce()

    @property
    def handle(self) -> SegmentHandle:
        """What a reader needs; good until the next `begin_writing`."""
        return SegmentHandle(name=self.name, num_bytes=self.num_bytes, nonce=self._nonce)

    @property
    def payload(self) -> Bytes:
        """The memory after the header: uint8[num_bytes]. Write only between begin_writing and end_writing."""
        return np.frombuffer(self._map, dtype=np.uint8, offset=HEADER_BYTES)

    def begin_writing(self) -> bool:
        """Void every handle given out and keep readers out; False while a living process still reads."""
        if not try_lock(self._descriptor, fcntl.LOCK_EX):
            return False
        self._renew_nonce()
        return True

    def end_writing(self) -> None:
        """Let readers in that know the present handle."""
        unlock(self._descriptor)

    def is_being_read(self) -> bool:
        """Whether a living process has it mapped. Only between end_writing and begin_writing."""
        if not try_lock(self._descriptor, fcntl.LOCK_EX):
            return True
        unlock(self._descriptor)
        return False

    def lend(self) -> Bytes:
        """Return the payload, read-only; the segment counts as being read until every array made of it is gone.

        Those may outlive the segment: the memory goes with the last of them. Raises TransportUnusableError while the
        segment is being written or once it is closed.
        """
        if self._is_closed:
            raise TransportUnusableError(segment=self.name, reason="it is closed")
        # Opened anew: locks are between openings, and this one must hold against our own writing.
        descriptor = os.open(f"/proc/self/fd/{self._descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        if not try_lock(descriptor, fcntl.LOCK_SH):
            os.close(descriptor)
            raise TransportUnusableError(segment=self.name, reason="it is being written")
        lent = self.payload
        lent.flags.writeable = False
        weakref.finalize(lent, os.close, descriptor)
        return lent

    def close(self) -> None:
        """Remove the name and let go of the memory; idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        with contextlib.suppress(FileNotFoundError):
            (DIRECTORY / self.name).unlink()
        unmap(self._map)
        os.close(self._descriptor)

    def _renew_nonce(self) -> None:
        self._nonce = secrets.token_hex(NONCE_BYTES)
        header = SegmentHeader(
            nonce=self._nonce, num_bytes=self.num_bytes, owner=this_process(), pid_namespace=pid_namespace()
        )
        packed = header.pack()
        self._map[: len(packed)] = packed


def _create(name: str, size: int) -> int:
    path = DIRECTORY / name
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try_lock(descriptor, fcntl.LOCK_EX)
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        path.unlink()
        os.close(descriptor)
        if error.errno not in _OUT_OF_ROOM:
            raise
        raise SegmentAllocationError(needed_bytes=size, free_bytes=_free(), directory=str(DIRECTORY)) from None
    return descriptor


def _free() -> int:
    filesystem = os.statvfs(DIRECTORY)
    return filesystem.f_bavail * filesystem.f_frsize


def unmap(mapped: mmap.mmap) -> None:
    """Let go of a map."""
    # A view that somebody still holds keeps the memory mapped; it goes with the last view.
    with contextlib.suppress(BufferError):
        mapped.close()
