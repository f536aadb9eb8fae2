"""Which waits are longer than usual in a run."""

import pytest

from tetrad_learner.coordinator.core.wait_history import FLOOR_S, MAX_KEPT, WaitHistory
from tetrad_learner.coordinator.core.waiting import Wait, WaitReason


def history_of(*durations: float) -> tuple[WaitHistory, float]:
    """Training steps that took so long, with a moment of generation between them; and the time now."""
    history, now = WaitHistory(), 0.0
    for step, seconds in enumerate(durations):
        history.see(Wait(reason=WaitReason.TRAIN, step=step), now)
        now += seconds
        history.see(Wait(reason=WaitReason.GENERATION, step=step), now)
        now += 0.5
    return history, now


def test_the_first_wait_of_its_kind_is_said_beyond_the_floor() -> None:
    history = WaitHistory()
    history.see(Wait(reason=WaitReason.RANKS), 0.0)

    assert not history.is_to_be_said(FLOOR_S)
    assert history.is_to_be_said(FLOOR_S + 0.1)


def test_a_wait_is_compared_with_the_99th_percentile_of_its_like() -> None:
    history, now = history_of(*[20.0] * 98, 40.0, 40.0)

    history.see(Wait(reason=WaitReason.TRAIN, step=1000), now)

    assert history.usual_s == 40.0
    assert not history.is_to_be_said(now + 39.0)
    assert history.is_to_be_said(now + 40.1)


def test_other_waits_have_no_say() -> None:
    history, now = history_of(50.0, 50.0)

    history.see(Wait(reason=WaitReason.PUBLISH, step=1000), now)

    assert history.usual_s == FLOOR_S


def test_a_long_wait_is_said_again_only_when_it_has_doubled() -> None:
    history = WaitHistory()
    history.see(Wait(reason=WaitReason.ENGINES), 0.0)

    said = [second for second in range(1, 100) if history.is_to_be_said(float(second))]

    assert said == [11, 21, 41, 81]


def test_the_same_wait_goes_on_however_its_details_change() -> None:
    history = WaitHistory()
    history.see(Wait(reason=WaitReason.GENERATION, step=1, num_missing=4), 0.0)

    assert history.see(Wait(reason=WaitReason.GENERATION, step=1, num_missing=3), 5.0) is None
    assert history.since == 0.0


def test_the_wait_of_the_next_step_is_another_and_the_former_is_told() -> None:
    history = WaitHistory()
    history.see(Wait(reason=WaitReason.GENERATION, step=1), 0.0)

    assert history.see(Wait(reason=WaitReason.GENERATION, step=2), 5.0) == 5.0
    assert history.since == 5.0


def test_nobody_is_told_that_a_run_is_over_for_long() -> None:
    history = WaitHistory()
    history.see(Wait(reason=WaitReason.OVER), 0.0)

    assert not history.is_to_be_said(1e9)


@pytest.mark.parametrize("num_waits", [10 * MAX_KEPT])
def test_memory_is_bounded(num_waits: int) -> None:
    history, _now = history_of(*[1.0] * num_waits)

    assert sum(len(kept) for kept in history._durations.values()) <= 2 * MAX_KEPT
