"""Makes sure that a run directory has one launcher.

Owns `launcher.lock` in the run directory. The lock is the kernel's (flock): it goes with its holder, however that ends.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tetrad_cli.launch.proc import start_ticks
from tetrad_runtime.exits import RunBusy

LOCK_NAME: Final = "launcher.lock"
# A `status` takes the lock for an instant to see whether it is free; an `up` that meets it tries again.
TRIES: Final = 5
RETRY_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a run directory."""

    pid: int
    ticks: int
    """Its start, see `proc.start_ticks`: with the pid it names the process for ever."""


@contextmanager
def claim(run_dir: Path) -> Iterator[None]:
    """Hold the run directory within the block; raises RunBusy naming the holder when somebody else does."""
    path = run_dir / LOCK_NAME
    descriptor = _locked(path)
    if descriptor is None:
        raise _busy(run_dir)
    try:
        me = Holder(pid=os.getpid(), ticks=start_ticks(os.getpid()) or 0)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(me)).encode(), 0)
        yield
    finally:
        # While we hold it: whoever has it open already sees that it has no name any more, and makes a new one.
        path.unlink(missing_ok=True)
        os.close(descriptor)


def remove_free_lock(path: Path) -> None:
    """Remove a lock file that nobody holds; one that is held, or is not there, is left as it is."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if _try_lock(descriptor, fcntl.LOCK_EX):
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def holder_of(run_dir: Path) -> Holder | None:
    """Return who holds the run directory now; None when nobody does."""
    path = run_dir / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        # Shared: two who look at once must not take each other for the holder.
        if _try_lock(descriptor, fcntl.LOCK_SH):
            return None
        return Holder(**json.loads(os.pread(descriptor, 4096, 0) or b'{"pid": 0, "ticks": 0}'))
    finally:
        os.close(descriptor)


def _locked(path: Path) -> int | None:
    """Return the locked file's descriptor; None where somebody else holds it."""
    for _ in range(TRIES):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # One without a name was its former holder's, who has just removed it.
        if _try_lock(descriptor, fcntl.LOCK_EX) and os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)
        time.sleep(RETRY_S)
    return None


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _busy(run_dir: Path) -> RunBusy:
    holder = holder_of(run_dir)
    who = f"pid {holder.pid}" if holder is not None else "another process"
    return RunBusy(
        f"{run_dir} is in use by {who}; stop that run with `tetrad down --run-dir {run_dir}`, "
        "or choose another trainer.run_name"
    )
