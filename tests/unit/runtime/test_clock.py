"""The fake clock wakes sleepers in order; the real one goes forward."""

import asyncio

import pytest

from tetrad_runtime.clock import Clock, MonotonicClock
from tetrad_testing.clock import FakeClock


async def test_sleepers_wake_in_the_order_of_their_time():
    clock: Clock = FakeClock()
    woken = []

    async def sleep(name, delay_s):
        await clock.sleep(delay_s)
        woken.append(name)

    tasks = [asyncio.create_task(sleep(name, delay)) for name, delay in [("b", 2), ("a", 1), ("c", 3)]]
    await clock.settle()
    clock.advance(2)
    await clock.settle()

    assert woken == ["a", "b"]
    assert clock.sleepers == 1
    tasks[2].cancel()


def test_time_does_not_go_back():
    with pytest.raises(ValueError, match="does not go back"):
        FakeClock().advance(-1)


async def test_the_real_clock_moves_while_it_sleeps():
    clock: Clock = MonotonicClock()
    before = clock.now()

    await clock.sleep(0.001)

    assert clock.now() > before
