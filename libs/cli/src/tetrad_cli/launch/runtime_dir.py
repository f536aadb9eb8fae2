"""A private directory with a short path, for sockets: the name of a local socket ends at about 107 bytes.

Owns `<base>/<hash of the run directory>` and its lock. Directories whose holder is dead are swept away.
"""

import fcntl
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tetrad_runtime.exits import MachineFault

MAX_SOCKET_PATH_BYTES: Final = 100
# Room for the longest socket name in it, such as `/reward-255`.
MAX_DIR_BYTES: Final = MAX_SOCKET_PATH_BYTES - 24
LOCK_NAME: Final = "lock"
# A directory without a lock is one that is being made at this moment, or a remnant once it is this old.
UNLOCKED_REMNANT_S: Final = 60.0


def base_dir(environ: Mapping[str, str]) -> Path:
    """Return where runtime directories are: in `$XDG_RUNTIME_DIR`, or below /tmp where that is unset or too long."""
    given = environ.get("XDG_RUNTIME_DIR", "")
    if given and Path(given).is_dir() and len(os.fsencode(given)) + 20 <= MAX_DIR_BYTES:
        return Path(given) / "tetrad"
    return Path(f"/tmp/tetrad-{os.getuid()}")  # noqa: S108 - made with 0700 and checked below


def path_for(run_dir: Path, environ: Mapping[str, str]) -> Path:
    """Return where the runtime directory of a run is, whether it exists or not."""
    return base_dir(environ) / hashlib.sha256(os.fsencode(run_dir.resolve())).hexdigest()[:12]


@contextmanager
def runtime_dir(run_dir: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Make the runtime directory of a run, hold it within the block, and remove it after.

    Raises MachineFault when the place belongs to somebody else.
    """
    path = path_for(run_dir, environ)
    _make_private(path.parent)
    sweep(path.parent)
    shutil.rmtree(path, ignore_errors=True)  # the run's lock is ours, so this is a dead launcher's
    path.mkdir(mode=0o700)
    descriptor = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def sweep(base: Path) -> list[Path]:
    """Remove the runtime directories whose launcher is dead, and return them."""
    dead = [path for path in base.iterdir() if path.is_dir() and _is_dead(path)]
    for path in dead:
        shutil.rmtree(path, ignore_errors=True)
    return dead


def _is_dead(path: Path) -> bool:
    # By lock, not by pid: a pid says nothing across containers that share /tmp.
    try:
        descriptor = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return path.exists() and time.time() - path.stat().st_mtime > UNLOCKED_REMNANT_S
    try:
        # A lock file that nobody has locked yet may be a moment old.
        is_new = time.time() - os.fstat(descriptor).st_mtime < 1.0
        return not is_new and _is_unlocked(descriptor)
    finally:
        os.close(descriptor)


def _is_unlocked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_private(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise MachineFault(f"{path} is not a directory of user {os.getuid()}; remove it or set XDG_RUNTIME_DIR")
    path.chmod(0o700)
