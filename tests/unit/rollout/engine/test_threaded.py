"""The engine's thread and the event loop beside it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import numpy as np
import pytest
from unit.rollout.engine_builders import a_request

from tetrad_rollout.engine.core import BatchSettings
from tetrad_rollout.engine.errors import EngineBusyError, EngineClosedError, ForwardFailedError, InvalidRequestError
from tetrad_rollout.engine.fake import FakeRunner, random_table
from tetrad_rollout.engine.protocol import GeneratedSample, Progress
from tetrad_rollout.engine.threaded import ThreadedEngine

HANGS_AFTER_S = 0.05


class Frozen:
    """An engine whose forwards hang until it is thawed."""

    def __init__(self, **settings: int) -> None:
        self.runner = FakeRunner(random_table(vocab_size=8, seed=0))
        self.engine = ThreadedEngine(self.runner, name="frozen", settings=BatchSettings(**settings))  # type: ignore[arg-type]
        self.runner.faults.may_run.clear()

    def thaw(self) -> None:
        self.runner.faults.may_run.set()

    async def hang_in_a_forward(self) -> asyncio.Task[list[GeneratedSample]]:
        """A request whose second forward or a later one hangs."""
        self.thaw()
        gate = asyncio.Event()

        def freeze(_progress: Progress) -> None:
            self.runner.faults.may_run.clear()
            gate.set()

        running = asyncio.create_task(self.engine.generate(a_request(prompt=[1], max_new_tokens=4000), freeze))
        await asyncio.wait_for(gate.wait(), 5)
        async with asyncio.timeout(5):
            while self.engine.statistics().step_age_s <= HANGS_AFTER_S:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return running


@pytest.fixture
async def frozen() -> AsyncIterator[Frozen]:
    frozen = Frozen()
    yield frozen
    frozen.thaw()
    await frozen.engine.close()


async def in_flight(engine: ThreadedEngine) -> None:
    async with asyncio.timeout(5):
        while engine.statistics().waiting_samples + engine.statistics().running_samples == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_the_thread_has_the_engines_name(frozen: Frozen) -> None:
    assert "frozen-engine" in {thread.name for thread in threading.enumerate()}


async def test_the_event_loop_and_the_stage_go_on_while_a_forward_hangs(frozen: Frozen) -> None:
    running = asyncio.create_task(frozen.engine.generate(a_request(prompt=[1])))
    async with asyncio.timeout(5):
        for _ in range(20):
            await asyncio.sleep(0.001)
        stage = frozen.engine.begin_stage(frozen.runner.layout, version=1)  # type: ignore[arg-type]

    assert stage.size == frozen.runner.layout.num_bytes
    assert not running.done()
    frozen.thaw()
    assert len(await running) == 2


async def test_a_forward_that_hangs_shows_in_the_age_of_the_last_step(frozen: Frozen) -> None:
    running = await frozen.hang_in_a_forward()

    assert frozen.engine.statistics().step_age_s > HANGS_AFTER_S
    running.cancel()


async def test_closing_an_engine_that_hangs_says_so_at_its_deadline(frozen: Frozen) -> None:
    running = await frozen.hang_in_a_forward()

    with pytest.raises(TimeoutError, match="still in a forward"):
        await frozen.engine.close(timeout_s=0.05)
    frozen.thaw()
    with pytest.raises(EngineClosedError):
        await asyncio.wait_for(running, 5)


async def test_a_full_queue_refuses_at_once() -> None:
    frozen = Frozen(max_waiting_samples=4, max_num_seqs=1)
    await frozen.engine.pause()
    first = asyncio.create_task(frozen.engine.generate(a_request(prompt=[1], seeds=range(4))))
    await in_flight(frozen.engine)

    with pytest.raises(EngineBusyError, match="the limit is 4"):
        await asyncio.wait_for(frozen.engine.generate(a_request(prompt=[1])), 5)
    frozen.thaw()
    await frozen.engine.close()
    with pytest.raises(EngineClosedError):
        await first


async def test_requests_sent_together_share_their_forwards() -> None:
    runner = FakeRunner(random_table(vocab_size=8, seed=0))
    engine = ThreadedEngine(runner, name="fake", settings=BatchSettings(batch_window_s=0.5, max_num_seqs=40))

    requests = [a_request(prompt=[i % 8], seeds=range(4), max_new_tokens=5) for i in range(10)]
    await asyncio.gather(*map(engine.generate, requests))

    assert engine.statistics().forward_passes == 5
    await engine.close()


async def test_a_progress_callback_that_raises_costs_nobody_an_answer() -> None:
    engine = ThreadedEngine(FakeRunner(random_table(vocab_size=8, seed=0)), name="fake", settings=BatchSettings())
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context["exception"]))

    def broken(_progress: Progress) -> None:
        raise RuntimeError("broken callback")

    answers = await asyncio.wait_for(
        asyncio.gather(engine.generate(a_request(prompt=[1]), broken), engine.generate(a_request(prompt=[2]))), 5
    )

    assert [len(samples) for samples in answers] == [2, 2]
    assert str(complaints[0]) == "broken callback"
    await engine.close()


async def test_a_failing_engine_says_so_and_serves_on() -> None:
    runner = FakeRunner(random_table(vocab_size=8, seed=0))
    runner.faults.fail_on_token = 3
    engine = ThreadedEngine(runner, name="fake", settings=BatchSettings())

    with pytest.raises(ForwardFailedError, match="told to fail"):
        await engine.generate(a_request(prompt=[3]))
    runner.faults.fail_on_token = None
    samples = await engine.generate(a_request(prompt=[3]))

    assert len(samples) == 2
    assert (engine.statistics().requests_failed, engine.statistics().is_alive) == (1, True)
    await engine.close()


async def test_a_thread_that_dies_leaves_nobody_waiting() -> None:
    engine = ThreadedEngine(FakeRunner(random_table(vocab_size=8, seed=0)), name="fake", settings=BatchSettings())
    await engine.pause()
    waiting = asyncio.create_task(engine.generate(a_request(prompt=[1])))
    await in_flight(engine)

    def bug() -> None:
        raise AssertionError("a bug")

    engine._post(bug)

    with pytest.raises(EngineClosedError, match="the engine thread died: AssertionError: a bug"):
        await asyncio.wait_for(waiting, 5)
    assert not engine.statistics().is_alive


async def test_many_callers_may_come_and_go() -> None:
    engine = ThreadedEngine(FakeRunner(random_table(vocab_size=8, seed=0)), name="fake", settings=BatchSettings())
    rng = np.random.default_rng(0)

    async def caller(index: int) -> int:
        request = a_request(prompt=[index % 8], seeds=range(3), max_new_tokens=int(rng.integers(1, 60)))
        try:
            async with asyncio.timeout(0.002 if index % 3 == 0 else 10):
                return len(await engine.generate(request))
        except TimeoutError:
            return 0

    started = time.monotonic()
    counts = await asyncio.gather(*map(caller, range(90)))

    assert [count for index, count in enumerate(counts) if index % 3] == [3] * 60
    assert time.monotonic() - started < 10
    async with asyncio.timeout(5):
        while engine.statistics().running_samples:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await engine.close()


async def test_a_refused_request_is_not_in_flight() -> None:
    engine = ThreadedEngine(FakeRunner(random_table(vocab_size=8, seed=0)), name="fake", settings=BatchSettings())

    with pytest.raises(InvalidRequestError):
        await engine.generate(a_request(prompt=[99], request_id="a"))

    assert len(await engine.generate(a_request(prompt=[1], request_id="a"))) == 2
    await engine.close()
