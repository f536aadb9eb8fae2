"""Writing datasets: rows as Parquet with an explicit schema, or as JSON lines.

Parquet cannot hold an empty struct and pads missing keys with None, so all rows must have the same extra columns.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from tetrad_trajectories.atomic import written_atomically
from tetrad_trajectories.dataset import rows_hash
from tetrad_trajectories.errors import DatasetError
from tetrad_trajectories.json_like import JsonValue
from tetrad_trajectories.row import Row

CHECKSUM_KEY: Final = "tetrad.rows_sha256"
# Small enough to shuffle by row group, large enough to compress.
ROWS_PER_GROUP: Final = 1_000

_SCALARS: Final[Mapping[type, pa.DataType]] = {
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
}


def write_rows(path: Path, rows: Sequence[Row], *, metadata: Mapping[str, str] | None = None) -> str:
    """Write rows to `path` (.parquet or .jsonl) atomically and return their hash, `Dataset.hash` when read.

    Parquet files carry `metadata` and the hash in their footer. Raises DatasetError if rows differ in shape.
    """
    if not rows:
        raise DatasetError(f"no rows to write to {path}")
    checksum = rows_hash(rows)
    match path.suffix:
        case ".parquet":
            _write_parquet(path, rows, metadata={**(metadata or {}), CHECKSUM_KEY: checksum})
        case ".jsonl":
            _write_json_lines(path, rows)
        case suffix:
            raise DatasetError(f"{path}: rows are written as .parquet or .jsonl, not {suffix or 'without one'}")
    return checksum


def read_metadata(path: Path) -> dict[str, str]:
    """Return the footer metadata of a Parquet file, without Arrow's own entry; empty for other formats."""
    if path.suffix != ".parquet":
        return {}
    entries = pq.read_metadata(path).metadata or {}
    return {key.decode(): value.decode() for key, value in entries.items() if key != b"ARROW:schema"}


def _write_json_lines(path: Path, rows: Sequence[Row]) -> None:
    lines = (json.dumps(row.record(), ensure_ascii=False, separators=(", ", ": ")) for row in rows)
    with written_atomically(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_parquet(path: Path, rows: Sequence[Row], *, metadata: Mapping[str, str]) -> None:
    schema = _schema(rows[0]).with_metadata(dict(metadata))
    records = [row.record() for row in rows]
    _check_shapes(records)
    try:
        table = pa.Table.from_pylist(records, schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DatasetError(f"rows for {path} differ in type: {error}") from error
    with written_atomically(path) as temporary:
        pq.write_table(table, temporary, row_group_size=ROWS_PER_GROUP, compression="zstd")


def _schema(row: Row) -> pa.Schema:
    own = {
        "prompt": pa.list_(pa.struct({"role": pa.string(), "content": pa.string()})),
        "env_class": pa.string(),
    }
    spec = {"method": pa.string(), "ground_truth": pa.string()}
    return pa.schema(
        {
            name: pa.struct(spec | _fields(value, skip=spec))
            if name == "reward_spec"
            else own.get(name) or _type(value, name)
            for name, value in row.record().items()
        }
    )


def _fields(value: JsonValue, *, skip: Mapping[str, object]) -> dict[str, pa.DataType]:
    assert isinstance(value, dict)
    return {key: _type(item, key) for key, item in value.items() if key not in skip}


def _type(value: JsonValue, name: str) -> pa.DataType:
    match value:
        case dict() if value:
            return pa.struct(_fields(value, skip={}))
        case list() if value:
            return pa.list_(_type(value[0], name))
        case _ if type(value) in _SCALARS:
            return _SCALARS[type(value)]
        case _:
            raise DatasetError(f"column {name}: the first row's {value!r} has no Parquet type; give it a value")


def _check_shapes(records: Sequence[Mapping[str, JsonValue]]) -> None:
    """Refuse records of unequal shape, which Parquet would pad or cut silently."""
    expected = _shape(records[0])
    for index, record in enumerate(records):
        if (shape := _shape(record)) != expected:
            raise DatasetError(f"row {index} has columns {sorted(shape)}, row 0 has {sorted(expected)}")


def _shape(record: Mapping[str, JsonValue]) -> frozenset[str]:
    nested = [f"{name}.{key}" for name, value in record.items() if isinstance(value, dict) for key in value]
    return frozenset([*record, *nested])
