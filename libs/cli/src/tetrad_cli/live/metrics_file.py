"""Follows metrics.jsonl as the learner writes it.

Owns how far the file was read.
"""

from dataclasses import dataclass
from pathlib import Path

from tetrad_cli.live.record import Record, parse


@dataclass(slots=True)
class MetricsFile:
    """A growing file of records. What it held when we came belongs to an earlier part of the run."""

    path: Path
    _offset: int = 0
    _partial: bytes = b""

    def skip_present(self) -> None:
        """Begin at the present end."""
        self._offset = self._size()

    def added(self) -> list[Record]:
        """Return the records that were completed since the last call."""
        size = self._size()
        if size < self._offset:  # written anew
            self._offset, self._partial = 0, b""
        if size == self._offset:
            return []
        with self.path.open("rb") as file:
            file.seek(self._offset)
            read = file.read()
        self._offset += len(read)
        *lines, self._partial = (self._partial + read).split(b"\n")
        records = [parse(line.decode(errors="replace")) for line in lines]
        return [record for record in records if record is not None]

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0
