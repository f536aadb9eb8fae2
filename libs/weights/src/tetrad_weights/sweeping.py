"""Removes what exporters left behind that were killed.

A segment goes only if the very process start that owns it is dead and nobody has it mapped.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from tetrad_weights.header import HEADER_BYTES, unpack
from tetrad_weights.locks import try_lock
from tetrad_weights.owners import is_alive, pid_namespace
from tetrad_weights.segments import DIRECTORY, run_part


def sweep(run: str | None = None) -> tuple[str, ...]:
    """Remove stale segments of one run, or of every run of this user; return their names.

    A file of another user, or of a pid namespace whose processes cannot be seen from here, is left alone.
    """
    pattern = "tetrad.*" if run is None else f"tetrad.{run_part(run)}.*"
    return tuple(path.name for path in sorted(DIRECTORY.glob(pattern)) if _remove_if_stale(path))


def _remove_if_stale(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not _is_stale(descriptor):
            return False
        # A sweep beside this one may have been faster.
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        return True
    finally:
        os.close(descriptor)


def _is_stale(descriptor: int) -> bool:
    if os.fstat(descriptor).st_uid != os.getuid():
        return False
    if not try_lock(descriptor, fcntl.LOCK_EX):
        return False
    header = unpack(os.pread(descriptor, HEADER_BYTES, 0))
    if header is None:
        # Its maker died before it could write a header: a living one holds the lock.
        return True
    return header.pid_namespace == pid_namespace() and not is_alive(header.owner)
