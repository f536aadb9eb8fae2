"""Files of records, read one record at a time: Parquet, JSON lines, JSON arrays.

Owns file formats. Knows nothing of what the columns mean.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from tetrad_trajectories.errors import DatasetError


class Source(Protocol):
    """Records of one file, by index."""

    @property
    def path(self) -> Path:
        """The file."""

    def __len__(self) -> int:
        """Return the number of records."""

    def where(self, index: int) -> str:
        """Say where the record is, for a person with an editor."""

    def record(self, index: int) -> Mapping[str, object]:
        """Return one record; raise DatasetError if it cannot be read."""


class ParquetSource:
    """Records of a Parquet file, kept as Arrow columns and made into Python objects one at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._table = pq.read_table(path).combine_chunks()
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(f"{path} is not a readable Parquet file: {error}") from error

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def where(self, index: int) -> str:
        """Say file and row, counted from 0."""
        return f"{self.path}, row {index}"

    def record(self, index: int) -> Mapping[str, object]:
        """Return one record."""
        records: list[dict[str, object]] = self._table.slice(index, 1).to_pylist()
        return records[0]


class JsonLinesSource:
    """Records of a file with one JSON object per line, kept as text and parsed one at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = enumerate(path.read_bytes().split(b"\n"), start=1)
        self._lines = [(number, line) for number, line in lines if line.strip()]

    def __len__(self) -> int:
        return len(self._lines)

    def where(self, index: int) -> str:
        """Say file, row counted from 0, and line counted from 1 as editors do."""
        return f"{self.path}, row {index} (line {self._lines[index][0]})"

    def record(self, index: int) -> Mapping[str, object]:
        """Return one record; raise DatasetError if the line is no JSON object."""
        try:
            return _object(json.loads(self._lines[index][1]), self.where(index))
        except ValueError as error:
            raise DatasetError(f"{self.where(index)}: not JSON: {error}") from error


class JsonArraySource:
    """Records of a file that is one JSON array."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._records = json.loads(path.read_bytes())
        except ValueError as error:
            raise DatasetError(f"{path} is not JSON: {error}") from error

    def __len__(self) -> int:
        return len(self._records)

    def where(self, index: int) -> str:
        """Say file and row, counted from 0."""
        return f"{self.path}, row {index}"

    def record(self, index: int) -> Mapping[str, object]:
        """Return one record; raise DatasetError if it is no object."""
        return _object(self._records[index], self.where(index))


def open_source(path: Path) -> Source:
    """Open a dataset file by its suffix; raise DatasetError if it is missing or of no known format."""
    opener = OPENERS.get(path.suffix)
    if opener is None:
        raise DatasetError(f"{path} ends in none of {', '.join(OPENERS)}; no other format is read")
    if not path.is_file():
        raise DatasetError(f"{path} does not exist; `tetrad data --help` lists the datasets it can make")
    return opener(path)


def num_records(path: Path) -> int:
    """Return the number of records of a file; of Parquet without reading any. Raises like `open_source`."""
    if path.suffix != ".parquet" or not path.is_file():
        return len(open_source(path))
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path} is not a readable Parquet file: {error}") from error


def _open_json(path: Path) -> Source:
    with path.open("rb") as file:
        is_array = file.read(1024).lstrip().startswith(b"[")
    return JsonArraySource(path) if is_array else JsonLinesSource(path)


def _object(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise DatasetError(f"{where}: needs a JSON object, not {type(value).__name__}")
    return value


OPENERS: Final[Mapping[str, Callable[[Path], Source]]] = {
    ".parquet": ParquetSource,
    ".jsonl": JsonLinesSource,
    ".json": _open_json,
}
