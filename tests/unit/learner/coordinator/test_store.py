import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from simulation.plan import plan_of
from simulation.world import World

from tetrad_learner.coordinator.core import facts as fa
from tetrad_learner.coordinator.core.image import LedgerImage
from tetrad_learner.coordinator.core.tables import DropReason, LeaseState, SlotState
from tetrad_learner.coordinator.store import InboxRow, LedgerError, Store, check_local
from tetrad_wire.ids import Draw, Incarnation, PolicyVersion, Token

DRAWN = fa.GroupDrawn(draw=Draw(0), size=2)
LEASED = fa.LeaseBegun(
    token=Token(1), draw=Draw(0), engine=Incarnation("e"), version=PolicyVersion(1), grader_version="g"
)


def filled(index: int, draw: int = 0) -> fa.SlotFilled:
    return fa.SlotFilled(
        draw=Draw(draw),
        index=index,
        token=Token(1),
        versions=(PolicyVersion(1),),
        grader_version="g",
        digest=f"digest-{index}",
    )


def dropped(draw: int, reason: DropReason) -> fa.GroupDropped:
    return fa.GroupDropped(draw=Draw(draw), reason=reason, detail="")


def sealed(step: int, *draws: int, multiplicities: tuple[int, ...] = ()) -> fa.StepSealed:
    return fa.StepSealed(step=step, lineage=1, draws=draws, multiplicities=multiplicities, journal_hash="h")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "ledger.sqlite")


@pytest.mark.parametrize("seed", [0, 3, 8, 14, 22, 24, 31, 77, 233])
def test_the_tables_say_what_the_facts_add_up_to(store: Store, seed: int) -> None:
    world = World(plan_of(seed))
    world.run()
    facts, image, rng = world.disk.facts, LedgerImage(), random.Random(seed)

    while facts:
        size = rng.randint(1, max(1, len(facts) // 3))
        batch, facts = facts[:size], facts[size:]
        store.commit(batch, [])
        image.apply_all(batch)

        assert store.image() == image


@pytest.mark.parametrize("seed", [1, 9, 22])
def test_fates_and_drops_sum_to_what_was_drawn(store: Store, seed: int) -> None:
    world = World(plan_of(seed))
    world.run()

    store.commit(world.disk.facts, [])

    fates = store.fates()
    assert sum(fates.values()) == world.disk.image.cursor * world.plan.config.group_size
    assert sum(store.drops().values()) == fates.get("dropped", 0)
    assert store.num_versions() == sum(version.digest != "" for version in world.disk.image.versions.values())


def test_a_sample_that_could_not_be_had_is_counted_with_its_reason(store: Store) -> None:
    store.commit([DRAWN, filled(0), fa.MissingGivenUp(draw=Draw(0), detail="broken")], [])
    store.commit([fa.StepSealed(step=1, lineage=1, draws=(0,), journal_hash="h")], [])

    assert store.fates() == {"sealed": 1, "dropped": 1}
    assert store.drops() == {"group_incomplete": 1}


def test_what_was_drawn_for_a_step_is_what_is_in_it_and_what_was_dropped_on_the_way(store: Store) -> None:
    for draw in range(5):
        store.commit([fa.GroupDrawn(draw=Draw(draw), size=2)], [])
        graded = [replace(filled(i, draw), reward=draw + i / 2, num_tokens=10 * draw + i) for i in (0, 1)]
        store.commit(graded[: 1 if draw == 3 else 2], [])
    store.commit([dropped(0, DropReason.FILTERED), dropped(3, DropReason.GROUP_INCOMPLETE)], [])
    store.commit([dropped(1, DropReason.REPLACED), sealed(1, 2, multiplicities=(2,))], [])
    store.commit([dropped(4, DropReason.STALE)], [])

    drawn = store.drawn_for(1)

    assert [(one.draw, one.num_tokens, one.reward, one.is_trained, one.reason) for one in drawn] == [
        *((0, 0, 0.0, False, "filtered"), (0, 1, 0.5, False, "filtered")),
        *((1, 10, 1.0, False, "replaced"), (1, 11, 1.5, False, "replaced")),
        *((2, 20, 2.0, True, ""), (2, 21, 2.5, True, "")),
        (3, 30, 3.0, False, "group_incomplete"),
    ]


def test_what_is_skipped_later_was_drawn_for_its_own_step_only(store: Store) -> None:
    store.commit([DRAWN, filled(0), filled(1), sealed(1, 0)], [])

    store.commit([fa.StepMarkedPoisoned(step=1), dropped(0, DropReason.SKIPPED), fa.StepSkipped(step=1)], [])

    assert store.drawn_for(2) == []


def test_a_fork_owes_nothing_for_what_its_origin_has_filtered(store: Store) -> None:
    later = [fa.GroupDrawn(draw=Draw(1), size=1), filled(0, 1), dropped(1, DropReason.FILTERED)]
    store.commit([DRAWN, filled(0), sealed(1, 0), *later], [])
    assert store.image().num_filtered == 1

    store.abandon_work_after(1)

    assert store.image().num_filtered == 0
    assert store.image().groups[1].reason == "filtered"


def test_a_slot_cannot_be_filled_twice(store: Store) -> None:
    store.commit([DRAWN, filled(0)], [])

    with pytest.raises(AssertionError, match="slot 0/0 is filled twice"):
        store.commit([filled(0)], [])


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    store.commit([DRAWN, filled(0)], [InboxRow(0, 0, b"first")])
    before = store.image()

    with pytest.raises(AssertionError):
        store.commit([filled(1), filled(0)], [InboxRow(0, 1, b"second")])

    assert store.image() == before
    assert store.inbox([0]) == [InboxRow(0, 0, b"first")]


def test_a_process_killed_in_mid_transaction_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Store(path).commit([DRAWN], [])
    code = f"""
import os, signal
from pathlib import Path
from tetrad_learner.coordinator.core.facts import GroupDrawn
from tetrad_learner.coordinator.store import InboxRow, Store
def facts():
    yield GroupDrawn(draw=1, size=2)
    os.kill(os.getpid(), signal.SIGKILL)
Store(Path({str(path)!r})).commit(facts(), [InboxRow(1, 0, b"payload")])
"""

    killed = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)

    assert killed.returncode == -signal.SIGKILL
    assert Store(path).image().cursor == 1
    assert Store(path).inbox([1]) == []


def test_what_is_committed_outlives_the_process(tmp_path: Path) -> None:
    first = Store(tmp_path / "ledger.sqlite")
    first.commit([DRAWN, LEASED, filled(1)], [InboxRow(0, 1, b"payload")])
    first.close()

    image = Store(tmp_path / "ledger.sqlite").image()

    assert [slot.state for slot in image.groups[0].slots] == [SlotState.EMPTY, SlotState.FILLED]
    assert image.leases[Token(1)].state is LeaseState.HELD


def test_the_inbox_keeps_a_payload_until_its_group_has_a_fate(store: Store) -> None:
    drawn = [DRAWN, fa.GroupDrawn(draw=Draw(1), size=1), fa.GroupDrawn(draw=Draw(2), size=1)]
    samples = [filled(1), filled(0), filled(0, 1), filled(0, 2)]
    rows = [InboxRow(0, 1, b"b"), InboxRow(0, 0, b"a"), InboxRow(1, 0, b"c"), InboxRow(2, 0, b"d")]
    store.commit([*drawn, *samples], rows)
    assert store.inbox([0, 1]) == [InboxRow(0, 0, b"a"), InboxRow(0, 1, b"b"), InboxRow(1, 0, b"c")]

    store.commit([fa.GroupDropped(draw=Draw(1), reason=DropReason.STALE, detail="")], [])
    store.commit([fa.StepSealed(step=1, lineage=1, draws=(0,), journal_hash="h")], [])

    assert store.inbox([0, 1, 2]) == [InboxRow(2, 0, b"d")]


def test_every_start_has_a_higher_epoch(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"

    assert [Store(path).begin_epoch() for _ in range(3)] == [1, 2, 3]


def test_a_backup_is_a_whole_ledger(store: Store, tmp_path: Path) -> None:
    store.commit([DRAWN, filled(0)], [InboxRow(0, 0, b"payload")])
    store.set_meta("run", "run-1")

    store.backup(tmp_path / "copy.sqlite")
    store.commit([filled(1)], [])

    copy = Store(tmp_path / "copy.sqlite")
    assert copy.meta("run") == "run-1"
    assert copy.inbox([0]) == [InboxRow(0, 0, b"payload")]
    assert [slot.state for slot in copy.image().groups[0].slots] == [SlotState.FILLED, SlotState.EMPTY]


def test_a_fork_has_no_open_work(store: Store) -> None:
    store.commit([DRAWN, fa.GroupDrawn(draw=Draw(1), size=1), LEASED, filled(0)], [InboxRow(0, 0, b"payload")])

    store.abandon_work_after(0)

    image = store.image()
    assert {lease.state for lease in image.leases.values()} == {LeaseState.EXPIRED}
    assert store.fates() == {"dropped": 3}
    assert store.drops() == {"end_of_run": 3}
    assert store.inbox([0, 1]) == []


def test_a_fork_has_no_step_beyond_its_checkpoint(store: Store) -> None:
    for draw, step in ((0, 1), (1, 2)):
        store.commit([fa.GroupDrawn(draw=Draw(draw), size=1), filled(0, draw)], [InboxRow(draw, 0, b"payload")])
        store.commit([fa.StepSealed(step=step, lineage=1, draws=(draw,), journal_hash="h")], [])

    store.abandon_work_after(1)

    image = store.image()
    assert list(image.steps) == [1]
    assert [group.slots[0].state for group in image.groups.values()] == [SlotState.SEALED, SlotState.DROPPED]
    assert image.groups[1].slots[0].step is None
    assert image.groups[1].reason == "end_of_run"


def test_a_fork_knows_no_skipped_step_beyond_its_checkpoint(store: Store) -> None:
    store.commit([DRAWN, filled(0), filled(1), fa.StepSealed(step=1, lineage=1, draws=(0,), journal_hash="h")], [])
    dropped = fa.GroupDropped(draw=Draw(0), reason=DropReason.SKIPPED, detail="")
    store.commit([fa.StepMarkedPoisoned(step=1), dropped, fa.StepSkipped(step=1)], [])
    assert (store.image().skipped, store.image().poisoned) == ({1}, set())

    store.abandon_work_after(0)

    assert store.image().skipped == set()
    assert store.drops() == {"skipped": 2}


def test_a_ledger_of_another_schema_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "ledger.sqlite")
    store.set_meta("schema", "999")
    store.close()

    with pytest.raises(LedgerError, match="schema 999"):
        Store(tmp_path / "ledger.sqlite")


def test_a_ledger_of_the_schema_before_is_refused_by_its_number_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;"
            "CREATE TABLE groups (draw INTEGER PRIMARY KEY, size INTEGER NOT NULL) STRICT;"
            "INSERT INTO meta VALUES ('schema', '1');"
        )

    with pytest.raises(LedgerError, match="the ledger has schema 1, this release reads 2"):
        Store(path)

    with closing(sqlite3.connect(path)) as db:
        tables = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    assert sorted(tables) == [("groups",), ("meta",)]


MOUNTS = """\
/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/vdb /home/ada/fast xfs rw 0 0
auto.net /net autofs rw 0 0
server:/net /net nfs rw 0 0
//server/my\\040share /mnt/my\\040share cifs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind"), [("/home/ada/runs", "nfs4"), ("/net/runs", "nfs"), ("/mnt/my share/runs", "cifs")]
)
def test_a_network_filesystem_is_refused(folder: str, kind: str) -> None:
    with pytest.raises(LedgerError, match=f"{folder} is on {kind}; a ledger needs a local disk"):
        check_local(Path(folder), MOUNTS)


@pytest.mark.parametrize("folder", ["/data/runs", "/home/ada/fast/runs", "/homes/runs"])
def test_a_local_filesystem_is_taken(folder: str) -> None:
    check_local(Path(folder), MOUNTS)
