"""A replica's time is busy, paused or idle, and all of it is accounted for."""

import pytest

from tetrad_rollout.occupation import Occupation, OccupationClock


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def clock(time) -> OccupationClock:
    return OccupationClock(time)


def test_time_without_leases_is_idle_and_with_them_busy(time, clock):
    time.now = 3.0
    clock.hold(2)
    time.now = 8.0

    assert clock.spent() == {Occupation.IDLE: 3.0, Occupation.BUSY: 5.0, Occupation.PAUSED: 0.0}


def test_a_pause_counts_as_one_though_leases_are_held(time, clock):
    clock.hold(1)
    with clock.paused():
        time.now = 2.0
    time.now = 5.0

    assert clock.spent() == {Occupation.IDLE: 0.0, Occupation.BUSY: 3.0, Occupation.PAUSED: 2.0}


def test_sleep_lasts_until_the_engine_is_awake(time, clock):
    clock.sleep(is_asleep=True)
    time.now = 4.0
    clock.sleep(is_asleep=False)
    time.now = 5.0

    assert clock.spent()[Occupation.PAUSED] == 4.0


def test_seconds_are_told_once(time, clock):
    time.now = 1.0
    clock.spent()

    assert sum(clock.spent().values()) == 0.0
