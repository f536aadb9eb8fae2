"""Learner and engine take turns, for real: killed in the other's turn, the final weights are the same bit for bit."""

import json
import signal

import pytest

from chaos.run_under_test import NUM_STEPS, MakeRun

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def test_a_rollout_killed_while_the_ranks_train_changes_nothing(make_run: MakeRun, calm_weights: bytes) -> None:
    run = make_run("trainer.placement.colocate_all=true").start()
    turns = "SELECT count(*) FROM device_phases WHERE phase = 'train'"

    # The first turn is that of the initial weights.
    run.until(lambda: run.count(turns) > 1, "a training step")
    run.signal("rollout-0", signal.SIGKILL)

    assert run.finish() == 0, run.last_words()
    run.check_fates()
    run.check_nothing_is_left()
    assert run.weights() == calm_weights
    assert run.count("SELECT count(*) FROM device_holders") == 1, "the dead engine is waited for"
    assert run.count(turns) >= NUM_STEPS + 1
    phases = json.loads((run.run_dir / "summary.json").read_text())["device_phases"]
    assert {"rollout-0", "trainer-0"} <= phases["train"]["bytes"].keys()
