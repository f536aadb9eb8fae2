"""Reads the ledger's tables back into the durable image."""

import json
import sqlite3

from tetrad_learner.coordinator.core.device_phases import DevicePhase
from tetrad_learner.coordinator.core.image import GroupImage, LeaseImage, LedgerImage, SlotImage, StepImage
from tetrad_learner.coordinator.core.tables import LeaseState, SlotState, StepState
from tetrad_learner.coordinator.core.versions import Version
from tetrad_wire.ids import Draw, Incarnation, PolicyVersion, Token
from tetrad_wire.messages.membership import RunState


def load_image(db: sqlite3.Connection) -> LedgerImage:
    """Read everything durable."""
    image = LedgerImage()
    _load_groups(db, image)
    _load_leases(db, image)
    _load_steps(db, image)
    _load_versions(db, image)
    image.rounds = {round_ for (round_,) in db.execute("SELECT round FROM evaluations")}
    last = db.execute("SELECT state, reason FROM run_states ORDER BY seq DESC LIMIT 1").fetchone()
    if last is not None:
        image.state, image.reason = RunState(last[0]), last[1]
    _load_device(db, image)
    return image


def _load_groups(db: sqlite3.Connection, image: LedgerImage) -> None:
    query = "SELECT draw, grader_version, reason, dropped_for FROM groups ORDER BY draw"
    for draw, grader, reason, dropped_for in db.execute(query):
        image.groups[draw] = GroupImage([], grader, reason, dropped_for)
        image.cursor = draw + 1
    query = "SELECT draw, state, versions, digest, step, reward FROM slots ORDER BY draw, sample"
    for draw, state, versions, digest, step, reward in db.execute(query):
        numbers = tuple(PolicyVersion(number) for number in json.loads(versions))
        image.groups[draw].slots.append(SlotImage(SlotState(state), numbers, digest, step, reward))


def _load_leases(db: sqlite3.Connection, image: LedgerImage) -> None:
    for token, draw, engine, version, state in db.execute("SELECT token, draw, engine, version, state FROM leases"):
        image.leases[Token(token)] = LeaseImage(
            Draw(draw), Incarnation(engine), PolicyVersion(version), LeaseState(state)
        )


def _load_steps(db: sqlite3.Connection, image: LedgerImage) -> None:
    query = "SELECT step, state, draws, journal_hash, attempts, multiplicities, is_poisoned FROM steps ORDER BY step"
    for step, state, draws, journal_hash, attempts, multiplicities, is_poisoned in db.execute(query):
        copies = tuple(json.loads(multiplicities))
        image.steps[step] = StepImage(StepState(state), tuple(json.loads(draws)), journal_hash, attempts, copies)
        if image.steps[step].state is not StepState.SEALED:
            image.executed = step
        if is_poisoned:
            image.poisoned.add(step)
    image.skipped = {step for (step,) in db.execute("SELECT step FROM skipped_steps")}
    image.covered = db.execute("SELECT coalesce(max(step), 0) FROM checkpoints").fetchone()[0]
    for lineage, from_step, attempt in db.execute("SELECT lineage, from_step, attempt FROM lineages"):
        image.lineage = max(image.lineage, lineage)
        image.lineages_from[from_step] = max(attempt, image.lineages_from.get(from_step, 0))


def _load_versions(db: sqlite3.Connection, image: LedgerImage) -> None:
    for number, lineage, step, digest in db.execute("SELECT version, lineage, step, digest FROM versions"):
        image.versions[PolicyVersion(number)] = Version(PolicyVersion(number), lineage, step, digest)


def _load_device(db: sqlite3.Connection, image: LedgerImage) -> None:
    last = db.execute("SELECT phase, turn FROM device_phases ORDER BY seq DESC LIMIT 1").fetchone()
    if last is not None:
        image.device.phase, image.device.turn = DevicePhase(last[0]), last[1]
    for engine, process in db.execute("SELECT engine, process FROM device_holders ORDER BY rowid"):
        image.device.holders[Incarnation(engine)] = process
