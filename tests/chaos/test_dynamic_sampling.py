"""Groups chosen by their rewards: no death of the coordinator changes which, or how often they are trained on."""

import signal
import subprocess
import sys

import pytest

from chaos.run_under_test import BATCH, NUM_STEPS, MakeRun, RunUnderTest

pytestmark = [pytest.mark.long, pytest.mark.live, pytest.mark.timeout(300)]

FILTER = ("trainer.algorithm.dynamic_sampling.type=filter",)
REPLACE = (
    "trainer.algorithm.dynamic_sampling.type=replace",
    "trainer.algorithm.dynamic_sampling.min_replace_ratio=0.5",
)
FLAT_GROUPS = """
    SELECT count(*) FROM (
        SELECT draw FROM slots WHERE state = 'sealed' GROUP BY draw HAVING min(reward) = max(reward)
    )
"""

DIFFERENT_FILTERED = """
    SELECT count(*) FROM (
        SELECT draw FROM slots JOIN groups USING (draw) WHERE reason = 'filtered'
        GROUP BY draw HAVING min(reward) < max(reward)
    )
"""
OUT_OF_ORDER = """
    SELECT count(*) FROM slots AS one JOIN slots AS other ON one.draw < other.draw AND one.step > other.step
"""


def dropped(run: RunUnderTest, reason: str) -> int:
    return run.count(f"SELECT count(*) FROM groups WHERE reason = '{reason}'")


def test_a_run_that_filters_goes_on_with_the_same_draws_when_its_coordinator_is_killed(make_run: MakeRun) -> None:
    run = make_run(*FILTER, grade_s=0.1).start()
    run.until(lambda: run.sealed() >= 1 and dropped(run, "filtered") > 0, "a sealed step and a filtered group")

    run.signal("learner", signal.SIGKILL)

    assert run.finish() == 0, run.last_words()
    run.check_fates()
    run.check_nothing_is_left()
    assert run.count(FLAT_GROUPS) == 0
    # So the steps hold the first groups in draw order whose rewards differ: no other batch was possible.
    assert run.count("SELECT count(*) FROM groups WHERE reason NOT IN ('', 'filtered')") == 0
    assert run.count(DIFFERENT_FILTERED) == 0
    assert run.count(OUT_OF_ORDER) == 0


def test_a_step_with_copies_is_replayed_bit_for_bit(make_run: MakeRun) -> None:
    run = make_run(*REPLACE).start()

    assert run.finish() == 0, run.last_words()
    assert run.count(FLAT_GROUPS) == 0
    assert dropped(run, "replaced") > 0
    places = "SELECT sum(value) FROM steps, json_each(iif(multiplicities = '[]', '[1, 1]', multiplicities))"
    assert run.count(places) == NUM_STEPS * BATCH
    step = run.count("SELECT min(step) FROM steps WHERE multiplicities != '[]'")
    replay = subprocess.run(
        [sys.executable, "-m", "tetrad_cli", "replay", str(run.run_dir), "--step", str(step)],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert replay.returncode == 0, replay.stdout + replay.stderr
    assert "recorded metrics, bit for bit" in replay.stdout
