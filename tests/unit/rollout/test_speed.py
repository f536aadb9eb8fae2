"""A single look shows how fast a replica generates."""

import pytest

from tetrad_rollout.speed import GRAIN_S, WINDOW_S, Speed


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_the_speed_is_over_the_window_and_nothing_is_left_after_it():
    clock = Clock()
    speed = Speed(clock)
    before = speed.tokens_per_s()
    clock.now += WINDOW_S
    speed.add(3000)
    at_once = speed.tokens_per_s()
    clock.now += WINDOW_S + 1

    assert (before, at_once, speed.tokens_per_s()) == (0.0, 200.0, 0.0)


def test_a_young_replica_is_measured_over_its_life():
    clock = Clock()
    speed = Speed(clock)
    clock.now += 2.0
    speed.add(50)
    speed.add(50)

    assert speed.tokens_per_s() == 50.0


def test_memory_is_bounded_however_many_samples_finish():
    clock = Clock()
    speed = Speed(clock)
    for _ in range(10_000):
        clock.now += 0.01
        speed.add(1)

    assert len(speed._added) <= WINDOW_S / GRAIN_S + 1
    assert speed.tokens_per_s() == pytest.approx(100, rel=0.03)
