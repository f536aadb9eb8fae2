"""The place of a rank in its run folder: a shared lock that every rank holds for life.

The next set of ranks starts only when every rank of the last one is gone. Taken before anything heavy is imported.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tetrad_learner.torchrun import lock_path


@contextmanager
def held_place(run_dir: Path) -> Iterator[None]:
    """Hold the lock within the block."""
    descriptor = os.open(lock_path(run_dir), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)
