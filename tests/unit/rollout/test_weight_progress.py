"""A rollout says how far it is with the version that is wanted, and what went wrong last."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tetrad_rollout.engine import BatchSettings
from tetrad_rollout.engine.fake import FakeRunner, random_table
from tetrad_rollout.engine.threaded import ThreadedEngine
from tetrad_rollout.metrics import RolloutMetrics
from tetrad_rollout.occupation import OccupationClock
from tetrad_rollout.weight_keeper import WeightKeeper
from tetrad_telemetry.metrics import Metrics
from tetrad_testing.builders import INCARNATION, a_desired
from tetrad_testing.conformance.engine_site import eventually
from tetrad_transport import MemoryTransport
from tetrad_wire.messages.membership import WeightPhase

ENDPOINT = "inproc://broadcaster"


@asynccontextmanager
async def a_keeper(transport: MemoryTransport, *, timeout_s: float) -> AsyncIterator[WeightKeeper]:
    """A keeper at work on an engine that has no weights of the run."""
    runner = FakeRunner(random_table(vocab_size=20, seed=0), eos_token_ids=(0,))
    engine = ThreadedEngine(runner, name="fake", settings=BatchSettings())
    keeper = WeightKeeper(
        engine,
        transport,
        name="rollout-0",
        incarnation=INCARNATION,
        timeout_s=timeout_s,
        on_change=lambda: None,
        observer=RolloutMetrics(Metrics("rollout", version="0")),
        clock=OccupationClock(),
    )
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        task.cancel()
        await asyncio.wait({task})
        await engine.close()


async def test_without_a_broadcaster_it_waits() -> None:
    async with a_keeper(MemoryTransport(), timeout_s=60.0) as keeper:
        before = keeper.progress
        keeper.follow(a_desired(broadcaster=""))

        progress = keeper.progress

    assert before is None
    assert progress is not None
    assert (progress.version, progress.phase, progress.problem) == (1, WeightPhase.WAITING, "")


async def test_with_a_broadcaster_that_does_not_answer_it_is_staging() -> None:
    transport = MemoryTransport()
    transport.listen(ENDPOINT)
    async with a_keeper(transport, timeout_s=60.0) as keeper:
        keeper.follow(a_desired(broadcaster=ENDPOINT))

        await eventually(lambda: keeper.progress is not None and keeper.progress.phase is WeightPhase.STAGING)


async def test_what_went_wrong_last_is_told() -> None:
    transport = MemoryTransport()
    transport.listen(ENDPOINT)
    async with a_keeper(transport, timeout_s=0.05) as keeper:
        keeper.follow(a_desired(broadcaster=ENDPOINT))

        await eventually(lambda: keeper.progress is not None and keeper.progress.problem != "")
        progress = keeper.progress

    assert progress is not None
    assert "rollout-0 had not taken version 1 over within generator.weight_sync_timeout=0.05 s" in progress.problem
    assert ": staging for " in progress.problem
    assert f"asking the broadcaster for it (no answer) at {ENDPOINT}; if that is slow" in progress.problem
