"""Writing a dataset file and saying so."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tetrad_trajectories.row import Row
from tetrad_trajectories.rows_file import write_rows


def write_and_report(path: Path, rows: Sequence[Row], *, metadata: Mapping[str, str]) -> None:
    """Write rows, making the folder if it is missing, and print one line: file, rows, checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    checksum = write_rows(path, rows, metadata=metadata)
    print(f"{path}: {len(rows):,} rows, sha256 {checksum}")
