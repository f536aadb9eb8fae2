"""Group commit: facts first, effects after.

Outcomes queue up while the disk is busy and share the next transaction. An effect is performed only once every fact
recorded before it is durable.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from tetrad_learner.coordinator.core.effects import Effect
from tetrad_learner.coordinator.core.outcome import Outcome
from tetrad_learner.coordinator.store import InboxRow, Store

Result = TypeVar("Result")


@dataclass(slots=True)
class _Batch:
    outcomes: list[Outcome] = field(default_factory=list)
    inbox: list[InboxRow] = field(default_factory=list)


class Committer:
    """Writes outcomes in the order they came, then hands their effects over."""

    def __init__(self, store: Store, perform: Callable[[list[Effect]], None]) -> None:
        self._store = store
        self._perform = perform
        self._next = _Batch()
        self._waiting = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self.num_commits = 0
        self.commit_s = 0.0

    def submit(self, outcome: Outcome, inbox: InboxRow | None = None) -> None:
        """Queue an outcome and the payload that belongs to its facts."""
        if not outcome.facts and not outcome.effects:
            return
        self._next.outcomes.append(outcome)
        if inbox is not None:
            self._next.inbox.append(inbox)
        self._idle.clear()
        self._waiting.set()

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            batch, self._next = self._next, _Batch()
            await self._commit(batch)
            self._perform([effect for outcome in batch.outcomes for effect in outcome.effects])
            if not self._next.outcomes:
                self._idle.set()

    async def flush(self, timeout_s: float) -> None:
        """Wait until everything submitted is durable; raise TimeoutError after `timeout_s`."""
        async with asyncio.timeout(timeout_s):
            await self._idle.wait()

    async def call(self, action: Callable[[], Result]) -> Result:
        """Run something on the ledger's thread, between two commits."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, action)

    def close(self) -> None:
        """Stop the thread once its work is done."""
        self._thread.shutdown(wait=True)

    async def _commit(self, batch: _Batch) -> None:
        facts = [fact for outcome in batch.outcomes for fact in outcome.facts]
        if not facts and not batch.inbox:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        await loop.run_in_executor(self._thread, self._store.commit, facts, batch.inbox)
        self.num_commits += 1
        self.commit_s += loop.time() - began
