"""Rollout replicas killed, frozen and scaled: nothing is lost, and the final weights are the same bit for bit."""

import signal

import pytest

from chaos.run_under_test import GROUP_SIZE, MakeRun

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


def test_rollouts_killed_after_each_count_of_samples_change_nothing(make_run: MakeRun, calm_weights: bytes) -> None:
    run = make_run(grade_s=0.15).start()

    for num_acknowledged in range(1, GROUP_SIZE):
        step = run.sealed()
        run.until(lambda n=num_acknowledged: run.filled() % GROUP_SIZE == n, f"{num_acknowledged} samples of a group")
        run.signal("rollout-0", signal.SIGKILL)
        run.until(lambda s=step: run.sealed() > s, "another step")

    assert run.finish() == 0, run.last_words()
    run.check_fates()
    run.check_nothing_is_left()
    assert run.weights() == calm_weights


def test_a_frozen_rollout_is_replaced_and_its_late_results_change_nothing(
    make_run: MakeRun, calm_weights: bytes
) -> None:
    run = make_run("generator.num_inference_engines=2", grade_s=0.15).start()
    run.until(lambda: run.filled() > 0, "the first sample")
    # Whichever engine is ready first has the samples: the frozen one must have begun some.
    run.until(lambda: run.leases_by_replica().get("rollout-0", 0) > 0, "a lease of the replica that is frozen")

    frozen = run.signal("rollout-0", signal.SIGSTOP)
    run.until(lambda: run.count("SELECT count(*) FROM leases WHERE state = 'expired'") > 0, "an expired lease")
    run.signal("rollout-0", signal.SIGCONT)

    assert run.finish() == 0, run.last_words()
    assert frozen not in run.processes()
    run.check_fates()
    run.check_nothing_is_left()
    assert run.weights() == calm_weights


def test_scaling_up_and_down_in_a_run_changes_nothing(make_run: MakeRun, calm_weights: bytes) -> None:
    run = make_run(grade_s=0.9).start()
    run.until(lambda: run.filled() > 0, "the first sample")

    run.scale("rollout", 2)
    run.until(lambda: run.leases_by_replica().get("rollout-1", 0) > 0, "a lease of the new replica")
    # What is leased is certified: it has the version since before.
    assert "weights_committed" in run.log("rollout-1")
    run.scale("rollout", 3)
    run.scale("rollout", 1)
    served = run.leases_by_replica()

    assert run.finish() == 0, run.last_words()
    assert run.count("SELECT count(*) FROM leases WHERE state = 'expired'") == 0
    after = run.leases_by_replica()
    assert {name: after[name] for name in after if name != "rollout-0"} == {
        name: served[name] for name in served if name != "rollout-0"
    }, "a replica that was removed got a lease"
    run.check_fates()
    run.check_nothing_is_left()
    assert run.weights() == calm_weights
