"""The ledger on disk: one SQLite database, WAL, synchronous=FULL.

A sample is acknowledged only after its payload and its fact are in one committed transaction. One writer: the
coordinator that holds the lock of the run folder.
"""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from tetrad_learner.coordinator.core.facts import Fact
from tetrad_learner.coordinator.core.image import LedgerImage
from tetrad_learner.coordinator.facts_sql import write_facts
from tetrad_learner.coordinator.image_sql import load_image

SCHEMA_VERSION: Final = 2
# Before every other table: those of another schema are not touched.
META: Final = "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT"
MOUNTS: Final = Path("/proc/mounts")
# Locks and fsync mean little on these; a ledger there would promise what it cannot keep.
NETWORK_FILESYSTEMS: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "fuse.sshfs"})


@dataclass(frozen=True, slots=True)
class InboxRow:
    """The payload of one accepted sample."""

    draw: int
    index: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class DrawnSample:
    """One sample that was drawn on the way to a step."""

    draw: int
    num_tokens: int
    """Tokens that the policy sampled."""
    reward: float
    is_trained: bool
    reason: str
    """Why its group was dropped; empty if it was not."""


class LedgerError(Exception):
    """The ledger cannot be used, and why."""


class Store:
    """Opens, writes and reads the ledger of one run."""

    def __init__(self, path: Path) -> None:
        check_local(path.parent, MOUNTS.read_text())
        # The writer thread of the group commit is another one than the opener's; only one uses it at a time.
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(META)
        self._check_schema()
        self._db.executescript(resources.files(__package__).joinpath("schema.sql").read_text())

    def begin_epoch(self) -> int:
        """Count this start of the coordinator; its number is above every earlier one."""
        epoch = int(self._meta("epoch") or 0) + 1
        self.set_meta("epoch", str(epoch))
        return epoch

    def commit(self, facts: Sequence[Fact], inbox: Sequence[InboxRow]) -> None:
        """Make facts and payloads durable in one transaction."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(
                "INSERT OR REPLACE INTO inbox (draw, sample, payload) VALUES (?, ?, ?)",
                [(row.draw, row.index, row.payload) for row in inbox],
            )
            write_facts(self._db, facts)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def image(self) -> LedgerImage:
        """Read everything durable."""
        return load_image(self._db)

    def inbox(self, draws: Iterable[int]) -> list[InboxRow]:
        """The payloads of some draws, by draw and index."""
        rows: list[InboxRow] = []
        for draw in draws:
            query = "SELECT draw, sample, payload FROM inbox WHERE draw = ? ORDER BY sample"
            rows.extend(InboxRow(*row) for row in self._db.execute(query, (draw,)))
        return rows

    def fates(self) -> dict[str, int]:
        """Samples drawn, by state; the states sum to what was drawn."""
        return dict(self._db.execute("SELECT state, count(*) FROM slots GROUP BY state").fetchall())

    def drops(self) -> dict[str, int]:
        """Samples dropped, by reason."""
        # A sample that could not be had is missing in a group that is trained all the same.
        query = """
            SELECT iif(reason = '', 'group_incomplete', reason), count(*) FROM slots JOIN groups USING (draw)
            WHERE state = 'dropped' GROUP BY 1
        """
        return dict(self._db.execute(query).fetchall())

    def drawn_for(self, step: int) -> list[DrawnSample]:
        """What was drawn on the way to a sealed step: its samples, and those dropped while it was waited for."""
        query = """
            SELECT draw, num_tokens, reward, 1, '' FROM slots
            WHERE draw IN (SELECT value FROM steps, json_each(draws) WHERE step = :step) AND slots.step = :step
            UNION ALL
            SELECT draw, num_tokens, reward, 0, reason FROM groups JOIN slots USING (draw)
            WHERE dropped_for = :step AND slots.step IS NULL AND digest != ''
            ORDER BY draw
        """
        return [
            DrawnSample(draw, num_tokens, reward, bool(is_trained), reason)
            for draw, num_tokens, reward, is_trained, reason in self._db.execute(query, {"step": step})
        ]

    def num_versions(self) -> int:
        """Policy versions that were published."""
        return int(self._db.execute("SELECT count(*) FROM versions WHERE digest != ''").fetchone()[0])

    def backup(self, path: Path) -> None:
        """Write a consistent copy, for a checkpoint."""
        with sqlite3.connect(path) as copy:
            self._db.backup(copy)
        copy.close()

    def abandon_work_after(self, step: int) -> None:
        """End every lease and drop every group beyond `step`: the ledger was copied from a checkpoint of that step.

        What was sealed beyond it lies in a journal that the new run does not have.
        """
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("UPDATE leases SET state = 'expired', reason = 'the run was forked' WHERE state = 'held'")
        # What was dropped with a skipped step keeps its reason.
        self._db.execute("UPDATE slots SET state = 'filled' WHERE step > ? AND state = 'sealed'", (step,))
        self._db.execute("UPDATE slots SET step = NULL WHERE step > ?", (step,))
        self._db.execute("DELETE FROM steps WHERE step > ?", (step,))
        self._db.execute("DELETE FROM skipped_steps WHERE step > ?", (step,))
        # What was filtered on the way to a step that the new run takes itself counts for nothing there.
        self._db.execute("UPDATE groups SET dropped_for = NULL WHERE dropped_for > ?", (step,))
        open_draws = "SELECT DISTINCT draw FROM slots WHERE state IN ('empty', 'filled')"
        self._db.execute(f"DELETE FROM inbox WHERE draw IN ({open_draws})")  # noqa: S608 - no user text in it
        self._db.execute(f"UPDATE groups SET reason = 'end_of_run' WHERE draw IN ({open_draws})")  # noqa: S608
        self._db.execute("UPDATE slots SET state = 'dropped' WHERE state IN ('empty', 'filled')")
        self._db.execute("COMMIT")

    def meta(self, key: str) -> str | None:
        """A value that belongs to the run, or None."""
        return self._meta(key)

    def set_meta(self, key: str, value: str) -> None:
        """Keep a value that belongs to the run."""
        self._db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close the database; idempotent."""
        self._db.close()

    def _meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _check_schema(self) -> None:
        found = self._meta("schema")
        if found is None:
            self.set_meta("schema", str(SCHEMA_VERSION))
        elif int(found) != SCHEMA_VERSION:
            raise LedgerError(f"the ledger has schema {found}, this release reads {SCHEMA_VERSION}")


def check_local(folder: Path, mounts: str) -> None:
    """Raise LedgerError if `folder` is on a network filesystem, by a table in the format of /proc/mounts."""
    kind = _filesystem(os.path.realpath(folder), mounts)
    if kind in NETWORK_FILESYSTEMS:
        raise LedgerError(f"{folder} is on {kind}; a ledger needs a local disk: set trainer.run_dir")


def _filesystem(target: str, mounts: str) -> str:
    """Kind of the deepest mount above `target`; of several on one folder the last one is seen."""
    found, depth = "", -1
    for line in mounts.splitlines():
        point, kind = line.split()[1:3]
        point = point.replace("\\040", " ").rstrip("/")
        if f"{target}/".startswith(f"{point}/") and len(point) >= depth:
            found, depth = kind, len(point)
    return found
