"""The file of one sealed step: written whole or not at all, verified when read."""

import hashlib
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tetrad_trajectories.atomic import written_atomically
from tetrad_trajectories.errors import CorruptJournalError
from tetrad_trajectories.journal.columns import from_table, to_table
from tetrad_trajectories.journal.step import JournalStep

FORMAT: Final = 1
# A reader of the former would train on every group once.
FORMAT_WITH_COPIES: Final = 2
HEADER_KEY: Final = b"tetrad.journal"
EVENTS_KEY: Final = b"tetrad.events"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the footer says about the file, as JSON under `tetrad.journal`."""

    format: int
    run_id: str
    step: int
    lineage: int
    mini_batch_ends: tuple[int, ...]
    hash: str
    """`JournalStep.hash`."""
    multiplicities: tuple[int, ...] = ()
    """How often each group is trained on; empty means once each."""
    events_hash: str
    """SHA-256 (hex) of the bytes under `tetrad.events`."""


def write_step(path: Path, step: JournalStep) -> str:
    """Write a sealed step and return its hash; the file is on disk when this returns.

    An existing file is replaced: a step that was journaled but never committed to the ledger is sealed again.
    """
    events = msgspec.json.encode(step.events)
    header = Header(
        format=FORMAT_WITH_COPIES if step.multiplicities else FORMAT,
        run_id=step.run_id,
        step=step.step,
        lineage=step.lineage,
        mini_batch_ends=step.mini_batch_ends,
        multiplicities=step.multiplicities,
        hash=step.hash(),
        events_hash=hashlib.sha256(events).hexdigest(),
    )
    footer = {HEADER_KEY: msgspec.json.encode(header), EVENTS_KEY: events}
    with written_atomically(path) as temporary:
        _write(temporary, to_table(step.samples), footer)
    return header.hash


def read_step(path: Path) -> JournalStep:
    """Read a sealed step and verify it.

    Raises CorruptJournalError if the file is damaged, FileNotFoundError if there is none.
    """
    try:
        header, step = _read(path)
        found = step.hash()
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged bytes fail anywhere between thrift, Arrow and our own checks
        raise CorruptJournalError(path, f"unreadable: {type(error).__name__}: {error}") from error
    if found != header.hash:
        raise CorruptJournalError(path, f"content hash is {found}, footer says {header.hash}")
    return step


def _write(path: Path, table: pa.Table, footer: dict[bytes, bytes]) -> None:
    with pq.ParquetWriter(
        path,
        table.schema,
        compression="zstd",
        # A dictionary would fold log-probs that differ only in the sign of zero; statistics have no reader.
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
        store_schema=False,
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(footer)


def _read(path: Path) -> tuple[Header, JournalStep]:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        footer = file.metadata.metadata or {}
        header = msgspec.json.decode(footer[HEADER_KEY], type=Header)
        if header.format not in (FORMAT, FORMAT_WITH_COPIES):
            raise ValueError(f"format {header.format}; this release reads {FORMAT} and {FORMAT_WITH_COPIES}")
        if hashlib.sha256(footer[EVENTS_KEY]).hexdigest() != header.events_hash:
            raise ValueError("the ledger events are not those that were written")
        events = msgspec.json.decode(footer[EVENTS_KEY], type=tuple[dict[str, object], ...])
        samples = from_table(file.read())
    step = JournalStep(
        run_id=header.run_id,
        step=header.step,
        lineage=header.lineage,
        samples=samples,
        mini_batch_ends=header.mini_batch_ends,
        multiplicities=header.multiplicities,
        events=events,
    )
    return header, step
