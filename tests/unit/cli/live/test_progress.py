"""Records add up to progress."""

import pytest

from tetrad_cli.live.progress import GREEDY, Progress
from tetrad_cli.live.record import Record

BEGAN = 1_700_000_000.0


def a_record(step, **metrics):
    return Record(
        step=step, time_s=BEGAN + step * 2.0, metrics={name.replace("__", "/"): v for name, v in metrics.items()}
    )


def test_rewards_evaluations_and_speed_are_kept():
    progress = Progress(total_steps=10, began_at=BEGAN)
    progress.add(a_record(1, train__mean_reward=0.5, trainer__tokens_per_second=100.0))
    progress.add(a_record(2, train__mean_reward=0.75, eval__all__pass_at_1=0.6))

    assert (progress.step, progress.rewards, progress.evaluations[GREEDY]) == (2, [0.5, 0.75], [(2, 0.6)])
    assert progress.tokens_per_s == 100.0
    assert progress.remaining_s() == 16.0


def test_the_learner_may_say_where_the_run_ends():
    progress = Progress()
    progress.add(a_record(1, trainer__total_steps=40.0))

    assert progress.total_steps == 40


def test_shares_of_time_add_up_and_wholes_are_not_counted_twice():
    progress = Progress()
    progress.add(a_record(1, timing__generate=1.0, timing__train=2.0, timing__step=3.5))
    progress.add(a_record(2, timing__generate=1.0))

    assert progress.shares() == [("generate", 0.5), ("train", 0.5)] or progress.shares() == [
        ("train", 0.5),
        ("generate", 0.5),
    ]
    assert sum(share for _, share in progress.shares()) == pytest.approx(1.0)


def test_nothing_is_known_before_the_first_record():
    assert Progress(total_steps=5).remaining_s() is None
    assert Progress().shares() == []
