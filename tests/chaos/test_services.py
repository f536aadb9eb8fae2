"""Reward, broadcaster, ranks and coordinator killed or frozen: the run ends, each slot has one fate."""

import os
import signal

import pytest

from chaos.run_under_test import GROUP_SIZE, MakeRun

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


def test_reward_broadcaster_and_rank_killed_one_after_the_other_change_nothing(
    make_run: MakeRun, calm_weights: bytes
) -> None:
    run = make_run(grade_s=0.15).start()

    run.until(lambda: run.filled() % GROUP_SIZE == 1, "a half graded group")
    run.signal("reward-0", signal.SIGKILL)
    run.until(lambda: run.executed() >= 1, "an executed step")
    # The version of that step is being published, or has just been.
    run.signal("broadcaster", signal.SIGKILL)
    run.until(lambda: run.count("SELECT sum(attempts) FROM steps WHERE step >= 3") > 0, "step 3 on the ranks")
    for pid in run.rank_pids():
        os.kill(pid, signal.SIGKILL)

    assert run.finish() == 0, run.last_words()
    assert run.count("SELECT count(*) FROM lineages") >= 2
    run.check_fates()
    run.check_nothing_is_left()
    assert run.weights() == calm_weights


def test_a_killed_and_a_frozen_coordinator_go_on_and_blame_nobody(make_run: MakeRun, calm_weights: bytes) -> None:
    run = make_run(grade_s=0.15).start()
    run.until(lambda: run.executed() >= 2 and run.filled() > 0, "samples of step 3")

    run.signal("learner", signal.SIGKILL)
    run.until(lambda: run.meta("epoch") == "2" and run.sealed() >= 3, "step 3 sealed by a new coordinator")
    expired = run.count("SELECT count(*) FROM leases WHERE state = 'expired'")
    run.signal("learner", signal.SIGSTOP)
    with pytest.raises(AssertionError, match="no progress"):
        run.until(lambda: False, "progress", timeout_s=9.0)
    run.signal("learner", signal.SIGCONT)

    assert run.finish() == 0, run.last_words()
    assert run.count("SELECT count(*) FROM leases WHERE state = 'expired'") == expired
    run.check_fates()
    run.check_nothing_is_left()
    assert run.weights() == calm_weights


def test_the_whole_learner_killed_is_started_again(make_run: MakeRun, calm_weights: bytes) -> None:
    run = make_run(grade_s=0.1).start()
    run.until(lambda: run.executed() >= 2, "two executed steps")

    for pid in [*run.rank_pids(), run.instance("learner").pid]:
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    assert run.finish() == 0, run.last_words()
    run.check_fates()
    run.check_nothing_is_left()
    assert run.weights() == calm_weights
