"""A step's samples as Arrow columns, and back. Arrays pass as bytes: not one bit changes."""

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tetrad_trajectories.journal.step import ARRAYS, JournalSample
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.leases import FinishReason, VersionSpan

SCALARS: Final = {
    "draw": pa.int64(),
    "index": pa.int32(),
    "prompt_length": pa.int32(),
    "num_turns": pa.int32(),
    "finish_reason": pa.string(),
    "grader_version": pa.string(),
    "incarnation": pa.string(),
    "response": pa.string(),
    "seconds": pa.float64(),
    # Derived: here so that a query need not sum lists; not read back.
    "reward": pa.float64(),
}

Array = npt.NDArray[Any]


def to_table(samples: Sequence[JournalSample]) -> pa.Table:
    """Return one row for each sample, in order."""
    columns = {name: pa.array([getattr(sample, name) for sample in samples], kind) for name, kind in SCALARS.items()}
    for name in ARRAYS:
        columns[name] = _list_column([getattr(sample, name) for sample in samples])
    spans = [sample.spans for sample in samples]
    columns["span_versions"] = _list_column([np.array([s.version for s in run], np.int64) for run in spans])
    columns["span_lengths"] = _list_column([np.array([s.length for s in run], np.int64) for run in spans])
    columns["metrics"] = _metrics_column(samples)
    return pa.table(columns)


def from_table(table: pa.Table) -> tuple[JournalSample, ...]:
    """Return the samples; their arrays are writable and contiguous."""
    columns = table.combine_chunks()
    fields: dict[str, Sequence[Any]] = {name: _split(columns[name]) for name in ARRAYS}
    for name in SCALARS.keys() - {"reward", "finish_reason"}:
        fields[name] = columns[name].to_pylist()
    fields["finish_reason"] = [FinishReason(reason) for reason in columns["finish_reason"].to_pylist()]
    fields["metrics"] = [dict(entries) for entries in columns["metrics"].to_pylist()]
    fields["spans"] = [
        tuple(VersionSpan(PolicyVersion(version), length) for version, length in zip(*run, strict=True))
        for run in zip(columns["span_versions"].to_pylist(), columns["span_lengths"].to_pylist(), strict=True)
    ]
    rows = zip(*fields.values(), strict=True)
    return tuple(JournalSample(**dict(zip(fields, row, strict=True))) for row in rows)


def _list_column(arrays: Sequence[Array]) -> pa.ListArray:
    return pa.ListArray.from_arrays(_offsets([len(a) for a in arrays]), pa.array(np.concatenate(arrays)))


def _metrics_column(samples: Sequence[JournalSample]) -> pa.MapArray:
    metrics = [sample.metrics for sample in samples]
    return pa.MapArray.from_arrays(
        _offsets([len(entries) for entries in metrics]),
        pa.array(list(chain.from_iterable(metrics)), pa.string()),
        pa.array(list(chain.from_iterable(entries.values() for entries in metrics)), pa.float64()),
    )


def _offsets(lengths: Sequence[int]) -> pa.Array:
    return pa.array(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))


def _split(column: pa.ChunkedArray) -> list[Array]:
    lists = column.combine_chunks()
    # Copied because Arrow's memory is read-only, which torch.from_numpy warns about.
    values: Array = lists.values.to_numpy(zero_copy_only=True).copy()
    ends: Array = lists.offsets.to_numpy()
    return [values[start:end] for start, end in pairwise(ends)]
