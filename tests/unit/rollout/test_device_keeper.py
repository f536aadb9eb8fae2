"""A colocated engine holds what it is told to hold, and never says less than it holds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from unit.rollout.engine_builders import a_request

from tetrad_rollout.device_keeper import DeviceKeeper, MemoryShortError, check_free
from tetrad_rollout.engine import BatchSettings, Engine, GenerationRequest
from tetrad_rollout.engine.errors import EngineAsleepError
from tetrad_rollout.engine.fake import FakeRunner, random_table
from tetrad_rollout.engine.late import LateEngine
from tetrad_rollout.engine.protocol import ALL_TAGS, MemoryTag
from tetrad_rollout.engine.threaded import ThreadedEngine
from tetrad_testing.builders import INCARNATION, a_device_order, memory_figures
from tetrad_testing.conformance.engine_site import eventually
from tetrad_wire.messages.membership import EngineMemory, MemoryFigures


class Weights:
    """What a weight keeper would be told."""

    def __init__(self) -> None:
        self.told: list[EngineMemory] = []
        self.committed_digest = ""

    async def stand_down(self) -> None:
        self.told.append(EngineMemory.ASLEEP)

    def stand_by(self, memory: EngineMemory) -> None:
        self.told.append(memory)


class SmallDevice(ThreadedEngine):
    """An engine on a device that others fill."""

    free = 100
    needed = 60

    def memory(self) -> MemoryFigures:
        return memory_figures(used=10, free=self.free, total=200)

    def needed_to_wake(self, tags: frozenset[MemoryTag]) -> int:
        return self.needed * len(tags)


def an_engine() -> SmallDevice:
    runner = FakeRunner(random_table(vocab_size=20, seed=0), eos_token_ids=(0,))
    return SmallDevice(runner, name="fake", settings=BatchSettings())


class Replica:
    """A keeper at work, and what it did."""

    def __init__(self) -> None:
        self.num_built = self.num_lost = 0
        self.weights = Weights()
        self.engine = LateEngine(self._build)
        self.keeper = DeviceKeeper(
            self.engine,
            self.weights,
            incarnation=INCARNATION,
            on_lost=self._lose,
            on_change=lambda: None,
        )
        self.on_lost: Callable[[], None] = lambda: None

    async def _build(self) -> Engine:
        self.num_built += 1
        return an_engine()

    def _lose(self) -> None:
        self.num_lost += 1
        self.on_lost()

    async def order(self, turn: int, memory: EngineMemory, *, is_admitted: bool = True) -> None:
        """Give an order and wait until it is obeyed."""
        engines = (INCARNATION,) if is_admitted else ()
        self.keeper.follow(a_device_order(turn=turn, memory=memory, engines=engines))
        await eventually(lambda: self.keeper.report().turn == turn)

    @property
    def holds(self) -> EngineMemory:
        return self.keeper.report().memory


@asynccontextmanager
async def a_replica() -> AsyncIterator[Replica]:
    replica = Replica()
    task = asyncio.create_task(replica.keeper.run())
    try:
        yield replica
    finally:
        task.cancel()
        await asyncio.wait({task})
        await replica.engine.close()


def run(scenario: Callable[[Replica], Awaitable[None]]) -> None:
    async def within() -> None:
        async with a_replica() as replica:
            await scenario(replica)

    asyncio.run(within())


def test_an_engine_is_built_only_when_it_may_hold_everything() -> None:
    async def scenario(replica: Replica) -> None:
        await replica.order(1, EngineMemory.ASLEEP)
        await replica.order(2, EngineMemory.WEIGHTS)
        assert (replica.num_built, replica.holds) == (0, EngineMemory.ASLEEP)
        await replica.order(3, EngineMemory.AWAKE)

        assert (replica.num_built, replica.holds) == (1, EngineMemory.AWAKE)

    run(scenario)


def test_who_is_not_admitted_builds_nothing() -> None:
    async def scenario(replica: Replica) -> None:
        await replica.order(3, EngineMemory.AWAKE, is_admitted=False)

        assert (replica.num_built, replica.holds) == (0, EngineMemory.ASLEEP)

    run(scenario)


def test_a_turn_takes_memory_away_and_gives_it_back_in_parts() -> None:
    async def scenario(replica: Replica) -> None:
        await replica.order(3, EngineMemory.AWAKE)
        await replica.order(4, EngineMemory.ASLEEP)
        assert replica.engine.statistics().is_asleep
        await replica.order(5, EngineMemory.WEIGHTS)
        assert replica.engine.statistics().is_asleep
        await replica.order(6, EngineMemory.AWAKE)

        assert not replica.engine.statistics().is_asleep
        assert replica.weights.told == [
            EngineMemory.AWAKE,
            EngineMemory.ASLEEP,
            EngineMemory.WEIGHTS,
            EngineMemory.AWAKE,
        ]
        assert replica.num_lost == 1

    run(scenario)


def test_an_older_order_that_comes_late_means_nothing() -> None:
    async def scenario(replica: Replica) -> None:
        await replica.order(4, EngineMemory.ASLEEP)

        replica.keeper.follow(a_device_order(turn=3, memory=EngineMemory.AWAKE))
        await replica.order(5, EngineMemory.WEIGHTS)

        assert replica.num_built == 0

    run(scenario)


def test_work_in_flight_is_given_up_before_the_engine_sleeps() -> None:
    async def scenario(replica: Replica) -> None:
        await replica.order(3, EngineMemory.AWAKE)
        await replica.engine.pause()
        working = asyncio.create_task(replica.engine.generate(a_long_request()))
        await eventually(lambda: replica.engine.statistics().waiting_samples > 0)
        replica.on_lost = lambda: working.cancel() and None

        await replica.order(4, EngineMemory.ASLEEP)

        assert working.cancelled()
        assert replica.holds is EngineMemory.ASLEEP

    run(scenario)


def test_too_little_free_memory_is_said_and_tried_again() -> None:
    async def scenario(replica: Replica) -> None:
        await replica.order(3, EngineMemory.AWAKE)
        await replica.order(4, EngineMemory.ASLEEP)
        assert isinstance(replica.engine.built, SmallDevice)
        replica.engine.built.free = 59

        replica.keeper.follow(a_device_order(turn=5, memory=EngineMemory.WEIGHTS))
        await eventually(lambda: "60 bytes" in replica.keeper.report().problem)
        assert (replica.keeper.report().turn, replica.holds) == (4, EngineMemory.ASLEEP)
        replica.engine.built.free = 60
        await eventually(lambda: replica.keeper.report().turn == 5)

        assert replica.keeper.report().problem == ""

    run(scenario)


def test_the_error_names_both_numbers_and_the_key() -> None:
    engine = an_engine()
    engine.free = 119

    with pytest.raises(MemoryShortError, match=r"120 bytes.*119 bytes.*GPU-0; lower generator.gpu_memory_utilization"):
        check_free(engine, ALL_TAGS)

    asyncio.run(engine.close())


def test_nothing_can_be_asked_of_an_engine_that_is_not_built() -> None:
    async def scenario(replica: Replica) -> None:
        with pytest.raises(EngineAsleepError, match="not built yet"):
            await replica.engine.generate(a_long_request())

    run(scenario)


def a_long_request() -> GenerationRequest:
    return a_request(request_id="long", prompt=(1, 2, 3), seeds=(1,), max_new_tokens=50, ignore_eos=True)
