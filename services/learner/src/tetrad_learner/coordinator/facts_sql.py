"""Each fact as SQL: the tables of the ledger say the same as `core.image`."""

import json
import sqlite3
from collections.abc import Iterable

from tetrad_learner.coordinator.core import facts as fa


def write_facts(db: sqlite3.Connection, facts: Iterable[fa.Fact]) -> None:
    """Write facts in order, within the caller's transaction."""
    for fact in facts:
        _write(db, fact)


def _write(db: sqlite3.Connection, fact: fa.Fact) -> None:
    match fact:
        case fa.GroupDrawn():
            db.execute("INSERT INTO groups (draw, size) VALUES (?, ?)", (fact.draw, fact.size))
            rows = [(fact.draw, index) for index in range(fact.size)]
            db.executemany("INSERT INTO slots (draw, sample) VALUES (?, ?)", rows)
        case fa.LeaseBegun():
            db.execute(
                "INSERT INTO leases (token, draw, engine, version) VALUES (?, ?, ?, ?)",
                (fact.token, fact.draw, fact.engine, fact.version),
            )
            db.execute("UPDATE groups SET grader_version = ? WHERE draw = ?", (fact.grader_version, fact.draw))
        case fa.LeaseOver():
            db.execute(
                "UPDATE leases SET state = ?, reason = ? WHERE token = ?", (fact.state.value, fact.reason, fact.token)
            )
        case fa.SlotFilled():
            _fill(db, fact)
        case fa.MissingGivenUp():
            db.execute("UPDATE slots SET state = 'dropped' WHERE draw = ? AND state = 'empty'", (fact.draw,))
            db.execute("UPDATE groups SET detail = ? WHERE draw = ?", (fact.detail, fact.draw))
        case fa.GroupDropped():
            _drop(db, fact)
        case fa.StepSealed():
            _seal(db, fact)
        case fa.StepAttempted():
            db.execute("UPDATE steps SET attempts = attempts + 1 WHERE step = ?", (fact.step,))
        case fa.StepExecuted():
            db.execute(
                "UPDATE steps SET state = 'executed', attempts = 0, lineage = ? WHERE step = ?",
                (fact.lineage, fact.step),
            )
        case fa.LineageOpened():
            row = (fact.lineage, fact.from_step, fact.attempt)
            db.execute("INSERT INTO lineages (lineage, from_step, attempt) VALUES (?, ?, ?)", row)
            _rewind(db, fact.from_step)
        case fa.VersionMinted():
            db.execute(
                "INSERT INTO versions (version, lineage, step) VALUES (?, ?, ?)",
                (fact.version, fact.lineage, fact.step),
            )
        case fa.VersionPublished():
            db.execute("UPDATE versions SET digest = ? WHERE version = ?", (fact.digest, fact.version))
        case fa.StepsCovered():
            db.execute("INSERT OR REPLACE INTO checkpoints (step, folder) VALUES (?, ?)", (fact.step, fact.folder))
            db.execute("UPDATE steps SET state = 'covered' WHERE state = 'executed' AND step <= ?", (fact.step,))
        case fa.EvaluationClosed():
            db.execute("INSERT OR IGNORE INTO evaluations (round) VALUES (?)", (fact.round,))
        case fa.StepMarkedPoisoned():
            db.execute("UPDATE steps SET is_poisoned = 1 WHERE step = ?", (fact.step,))
        case fa.StepSkipped():
            db.execute("UPDATE steps SET is_poisoned = 0 WHERE step = ?", (fact.step,))
            db.execute("INSERT INTO skipped_steps (step) VALUES (?)", (fact.step,))
        case fa.RunChanged():
            db.execute("INSERT INTO run_states (state, reason) VALUES (?, ?)", (fact.state.value, fact.reason))
        case fa.PhaseEntered() | fa.HolderAdmitted() | fa.HolderGone():
            _write_device(db, fact)
        case _:
            raise AssertionError(f"no table for {type(fact).__name__}")


def _write_device(db: sqlite3.Connection, fact: fa.PhaseEntered | fa.HolderAdmitted | fa.HolderGone) -> None:
    match fact:
        case fa.PhaseEntered():
            db.execute("INSERT INTO device_phases (phase, turn) VALUES (?, ?)", (fact.phase.value, fact.turn))
        case fa.HolderAdmitted():
            row = (fact.engine, fact.process)
            db.execute("INSERT OR IGNORE INTO device_holders (engine, process) VALUES (?, ?)", row)
        case fa.HolderGone():
            db.execute("DELETE FROM device_holders WHERE engine = ?", (fact.engine,))


def _rewind(db: sqlite3.Connection, from_step: int) -> None:
    """The loaded checkpoint covers its step, told or not; a newer one must be unreadable."""
    db.execute("UPDATE steps SET state = 'sealed' WHERE step > ?", (from_step,))
    db.execute("UPDATE steps SET state = 'covered' WHERE step <= ?", (from_step,))
    db.execute("DELETE FROM checkpoints WHERE step > ?", (from_step,))
    db.execute("INSERT OR IGNORE INTO checkpoints (step, folder) VALUES (?, '')", (from_step,))


def _fill(db: sqlite3.Connection, fact: fa.SlotFilled) -> None:
    changed = db.execute(
        "UPDATE slots SET state = 'filled', versions = ?, digest = ?, token = ?, reward = ?, num_tokens = ? "
        "WHERE draw = ? AND sample = ? AND state = 'empty'",
        (
            *(json.dumps(fact.versions), fact.digest, fact.token, fact.reward, fact.num_tokens),
            *(fact.draw, fact.index),
        ),
    )
    db.execute("UPDATE groups SET grader_version = ? WHERE draw = ?", (fact.grader_version, fact.draw))
    # The last line of defence of the rule that everything rests on.
    assert changed.rowcount == 1, f"slot {fact.draw}/{fact.index} is filled twice"


def _drop(db: sqlite3.Connection, fact: fa.GroupDropped) -> None:
    db.execute(
        "UPDATE groups SET reason = ?, detail = ?, dropped_for = (SELECT coalesce(max(step), 0) + 1 FROM steps) "
        "WHERE draw = ?",
        (fact.reason.value, fact.detail, fact.draw),
    )
    db.execute("UPDATE slots SET state = 'dropped' WHERE draw = ?", (fact.draw,))
    db.execute("DELETE FROM inbox WHERE draw = ?", (fact.draw,))


def _seal(db: sqlite3.Connection, fact: fa.StepSealed) -> None:
    db.execute(
        "INSERT INTO steps (step, state, lineage, draws, multiplicities, journal_hash) "
        "VALUES (?, 'sealed', ?, ?, ?, ?)",
        (fact.step, fact.lineage, json.dumps(fact.draws), json.dumps(fact.multiplicities), fact.journal_hash),
    )
    for draw in fact.draws:
        db.execute("UPDATE slots SET state = 'sealed', step = ? WHERE draw = ? AND state = 'filled'", (fact.step, draw))
        # The journal has them now.
        db.execute("DELETE FROM inbox WHERE draw = ?", (draw,))
