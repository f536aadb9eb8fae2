"""`metrics.jsonl`: one JSON object per record, `{"step", "time", "metrics"}`. A run reads it again when it goes on."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tetrad_learner.coordinator.sample_table import TableRow


class JsonLines:
    """Appends lines, each at once readable by others and never only in part."""

    def __init__(self, path: Path) -> None:
        _mend(path)
        self._file = path.open("ab", buffering=0)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append a line; raises OSError where it does not fit on the disk, and leaves the file as it was."""
        record = {"step": step, "time": time.time(), "metrics": dict(metrics)}
        self._append(json.dumps(record).encode() + b"\n")

    def log_samples(self, step: int, rows: Sequence[TableRow]) -> None:
        """The journal holds every sample already."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, line: bytes) -> None:
        end = self._file.seek(0, 2)
        rest = memoryview(line)
        try:
            while rest:
                # A disk that fills up takes a part first, and refuses the next.
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(end)
            raise


def _mend(path: Path) -> None:
    """Cut off the line that a killed writer left unfinished: every line is to be a whole record."""
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with path.open("r+b") as file:
                file.truncate(whole)
