"""Rows, runs and full disks for tests of loggers."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tetrad_learner.coordinator.loggers.logger import RunFile
from tetrad_learner.coordinator.sample_table import TableRow


def a_row(**changes) -> TableRow:
    fields = {"draw": 3, "index": 1, "prompt": "user: 2 + 2?", "response": "4", "reward": 1.0, "advantage": 0.5}
    return TableRow(**fields | changes)


def a_run_file(folder: Path, **changes) -> RunFile:
    fields = {
        "project": "tetrad-tests",
        "name": "demo",
        "run": "demo-1a2b3c4d",
        "folder": folder,
        "config": {"trainer": {"seed": 42, "train_batch_size": 16}},
    }
    return RunFile(**fields | changes)


@contextmanager
def a_disk_with_room_for(num_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes: the kernel then writes in part, and refuses the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
