"""The prompts of a run: rows of one or several files, in file order.

Owns validation and the dataset hash. Knows neither cursor nor tokenizer.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from tetrad_trajectories.errors import DatasetError
from tetrad_trajectories.json_like import canonical
from tetrad_trajectories.row import Row, parse_row
from tetrad_trajectories.sources import Source, open_source


class Dataset:
    """Rows by index, each checked once when the files are read and parsed again when it is asked for."""

    hash: str
    """SHA-256 (hex) of all rows in order: the same rows give the same hash in any format and any folder."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        self._ends = tuple(accumulate(len(source) for source in self._sources))
        if not self._ends or self._ends[-1] == 0:
            raise DatasetError(f"no rows in {', '.join(str(s.path) for s in self._sources) or 'no files'}")
        self.hash = rows_hash(self)

    @classmethod
    def read(cls, paths: Iterable[str | Path]) -> "Dataset":
        """Read and check files (.parquet, .jsonl, .json), one after the other.

        Raises DatasetError that names file, row and column.
        """
        return cls([open_source(Path(path).expanduser()) for path in paths])

    @property
    def empty(self) -> tuple[Path, ...]:
        """Files without a row, beside others that have some."""
        return tuple(source.path for source in self._sources if len(source) == 0)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Row:
        """Return row `index`; raise IndexError outside 0 … len - 1."""
        source, local = self._place(index)
        return parse_row(source.record(local), where=source.where(local))

    def __iter__(self) -> Iterator[Row]:
        for index in range(len(self)):
            yield self[index]

    def uid(self, index: int) -> str:
        """Name a row in reports: the first twelve digits of the dataset hash, and the row."""
        return f"{self.hash[:12]}:{index}"

    def where(self, index: int) -> str:
        """Say which file and row holds row `index`."""
        source, local = self._place(index)
        return source.where(local)

    def _place(self, index: int) -> tuple[Source, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of a dataset with {len(self)} rows")
        file = bisect_right(self._ends, index)
        return self._sources[file], index - (self._ends[file - 1] if file else 0)


def rows_hash(rows: Iterable[Row]) -> str:
    """SHA-256 (hex) over the canonical JSON of each row, one line each."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(canonical(row.record()) + b"\n")
    return digest.hexdigest()
