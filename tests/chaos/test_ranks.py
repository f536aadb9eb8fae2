"""One of two ranks frozen while the other waits for it in a collective: it is named, and the run goes on without it."""

import os
import signal
import time
from pathlib import Path

import pytest

from chaos.run_under_test import MakeRun, RunUnderTest
from tetrad_learner.coordinator.rank_set import FROZEN_S

pytestmark = [pytest.mark.live, pytest.mark.long, pytest.mark.timeout(900)]

# To kill the set, to start another one, which loads torch twice, and to train a step again, on a busy machine.
RESTART_S = 180.0


def test_a_rank_that_freezes_in_a_step_is_named_and_a_new_set_trains_that_step(make_run: MakeRun) -> None:
    run = make_run("trainer.placement.policy_num_gpus_per_node=2", grade_s=0.1).start()
    run.until(
        lambda: run.count("SELECT sum(attempts) FROM steps WHERE step >= 2") > 0,
        "step 2 on the ranks",
        timeout_s=RESTART_S,
    )

    frozen, began = pid_of_rank(run, 1), time.monotonic()
    os.kill(frozen, signal.SIGSTOP)

    run.until(lambda: "ranks_lost" in run.log("learner"), "the loss noticed", timeout_s=FROZEN_S + 30.0)
    lost = next(line for line in run.log("learner").splitlines() if "ranks_lost" in line)
    assert f"rank 1 has not been heard for {FROZEN_S:g} s" in lost
    run.until(lambda: run.executed() >= 2, "the step trained by a new set", timeout_s=RESTART_S)
    assert time.monotonic() - began < FROZEN_S + 30.0 + RESTART_S

    assert run.finish(timeout_s=RESTART_S) == 0, run.last_words()
    assert not Path(f"/proc/{frozen}").exists()
    assert run.count("SELECT count(*) FROM lineages") >= 2
    run.check_fates()
    run.check_nothing_is_left()


def pid_of_rank(run: RunUnderTest, rank: int) -> int:
    """As torchrun has told it."""
    mark = f"RANK={rank}".encode()
    return next(pid for pid in run.rank_pids() if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
