"""Errors of datasets and journals; the type says whose fault it is.

DatasetError          the user's file is not what a run can read: the message names file, row and column
CorruptJournalError   a journal file is not what was written: fall back to an older checkpoint or regenerate
CheckpointError       a checkpoint cannot be used: the message says what is missing or damaged
"""

from pathlib import Path


class DatasetError(ValueError):
    """A dataset file cannot be used as it is."""


class CheckpointError(Exception):
    """A checkpoint cannot be used, and why."""


class CorruptJournalError(Exception):
    """A journal file does not hold what its footer says."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"journal {path}: {reason}")
        self.path, self.reason = path, reason
