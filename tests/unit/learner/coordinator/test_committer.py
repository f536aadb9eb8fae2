import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tetrad_learner.coordinator.committer import Committer
from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import facts as fa
from tetrad_learner.coordinator.core.outcome import Outcome
from tetrad_learner.coordinator.store import InboxRow, Store
from tetrad_wire.ids import Draw

DEADLINE_S = 10.0


class GatedStore(Store):
    """A store on a slow disk: each commit waits until it is let through."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate = threading.Semaphore(0)
        self.began = threading.Semaphore(0)
        self.sizes: list[int] = []

    def commit(self, facts: Sequence[fa.Fact], inbox: Sequence[InboxRow]) -> None:
        self.began.release()
        assert self.gate.acquire(timeout=DEADLINE_S)
        self.sizes.append(len(facts))
        super().commit(facts, inbox)


def drawn(draw: int) -> Outcome:
    return Outcome([fa.GroupDrawn(draw=Draw(draw), size=1)], [ef.StartRanks(attempt=draw)])


@asynccontextmanager
async def running(store: Store) -> AsyncIterator[tuple[Committer, list[int]]]:
    """A committer at work, and the attempts of the effects that it performed."""
    performed: list[int] = []
    committer = Committer(store, lambda effects: performed.extend(effect.attempt for effect in effects))
    work = asyncio.create_task(committer.run())
    try:
        yield committer, performed
    finally:
        work.cancel()
        committer.close()


async def until_begun(store: GatedStore) -> None:
    assert await asyncio.to_thread(store.began.acquire, timeout=DEADLINE_S)


async def test_an_effect_waits_until_its_facts_are_durable(tmp_path: Path) -> None:
    store = GatedStore(tmp_path / "ledger.sqlite")
    async with running(store) as (committer, performed):
        committer.submit(drawn(0))
        await until_begun(store)
        assert performed == []

        store.gate.release()
        await committer.flush(DEADLINE_S)

        assert performed == [0]
        assert store.image().cursor == 1


async def test_an_effect_without_facts_waits_for_the_facts_before_it(tmp_path: Path) -> None:
    store = GatedStore(tmp_path / "ledger.sqlite")
    async with running(store) as (committer, performed):
        committer.submit(drawn(0))
        await until_begun(store)
        committer.submit(Outcome([], [ef.StartRanks(attempt=7)]))
        await asyncio.sleep(0)
        assert performed == []

        store.gate.release()
        await committer.flush(DEADLINE_S)

        assert performed == [0, 7]
        assert store.sizes == [1]


async def test_outcomes_that_come_during_a_commit_share_the_next(tmp_path: Path) -> None:
    store = GatedStore(tmp_path / "ledger.sqlite")
    async with running(store) as (committer, performed):
        committer.submit(drawn(0))
        await until_begun(store)
        for draw in (1, 2, 3):
            committer.submit(drawn(draw))
        store.gate.release(2)

        await committer.flush(DEADLINE_S)

        assert store.sizes == [1, 3]
        assert performed == [0, 1, 2, 3]
        assert committer.num_commits == 2


async def test_a_payload_is_in_the_transaction_of_its_fact(tmp_path: Path) -> None:
    store = Store(tmp_path / "ledger.sqlite")
    async with running(store) as (committer, _performed):
        committer.submit(drawn(0), InboxRow(0, 0, b"payload"))
        await committer.flush(DEADLINE_S)

    assert store.inbox([0]) == [InboxRow(0, 0, b"payload")]


async def test_what_an_effect_submits_is_committed_before_a_flush_ends(tmp_path: Path) -> None:
    store = Store(tmp_path / "ledger.sqlite")

    def perform(effects: list[ef.Effect]) -> None:
        if store.image().cursor == 1:
            committer.submit(drawn(1))

    committer = Committer(store, perform)
    work = asyncio.create_task(committer.run())
    committer.submit(drawn(0))

    await committer.flush(DEADLINE_S)

    assert store.image().cursor == 2
    work.cancel()
    committer.close()


async def test_a_flush_ends_at_its_deadline(tmp_path: Path) -> None:
    store = GatedStore(tmp_path / "ledger.sqlite")
    async with running(store) as (committer, _performed):
        committer.submit(drawn(0))
        await until_begun(store)

        with pytest.raises(TimeoutError):
            await committer.flush(0.05)

        store.gate.release()
        await committer.flush(DEADLINE_S)


async def test_nothing_is_performed_of_what_could_not_be_written(tmp_path: Path) -> None:
    store = Store(tmp_path / "ledger.sqlite")
    store.commit([fa.GroupDrawn(draw=Draw(0), size=1)], [])
    performed: list[ef.Effect] = []
    committer = Committer(store, performed.extend)
    committer.submit(drawn(0))

    with pytest.raises(Exception, match="UNIQUE"):
        await asyncio.wait_for(committer.run(), DEADLINE_S)

    assert performed == []
    committer.close()


async def test_an_empty_outcome_costs_no_commit(tmp_path: Path) -> None:
    store = Store(tmp_path / "ledger.sqlite")
    async with running(store) as (committer, _performed):
        committer.submit(Outcome())
        await committer.flush(DEADLINE_S)

        assert committer.num_commits == 0


async def test_a_call_runs_between_two_commits(tmp_path: Path) -> None:
    store = GatedStore(tmp_path / "ledger.sqlite")
    async with running(store) as (committer, _performed):
        committer.submit(drawn(0))
        await until_begun(store)
        call = asyncio.create_task(committer.call(lambda: store.backup(tmp_path / "copy.sqlite")))
        store.gate.release()

        await asyncio.wait_for(call, DEADLINE_S)

    assert Store(tmp_path / "copy.sqlite").image().cursor == 1
