"""The reward of a real run under load: scaled, swapped, and still the new one when the run is resumed."""

import subprocess
import sys
import urllib.request
from collections import defaultdict
from pathlib import Path

import pytest
from chaos.run_under_test import GROUP_SIZE, MakeRun, RunUnderTest

from tetrad_config.reward_record import read_record
from tetrad_trajectories.journal import read_step

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

BATCH = 4
LOAD = (
    f"trainer.train_batch_size={BATCH}",
    f"trainer.policy_mini_batch_size={BATCH}",
    "generator.num_inference_engines=2",
    "journal.keep=all",
)
OTHER = '''
import time


def other(response: str, ground_truth: str | None) -> float:
    """Another opinion, with the same patience."""
    time.sleep(0.1)
    return float(response != ground_truth)
'''
BROKEN = "def broken(response): return 1.0\n"


def _tetrad(run: RunUnderTest, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tetrad_cli", *words, "--run-dir", str(run.run_dir)]
    return subprocess.run(command, cwd=run.folder, capture_output=True, text=True, timeout=300, check=False)


def _graded(run: RunUnderTest, name: str) -> float:
    url = f"http://127.0.0.1:{run.instance(name).port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("tetrad_reward_samples_total"))


def _journal(run: RunUnderTest) -> dict[int, list[str]]:
    """Of each trained draw the graders of its samples."""
    graders: dict[int, list[str]] = defaultdict(list)
    for path in sorted((run.run_dir / "journal").glob("*.parquet")):
        for sample in read_step(path).samples:
            graders[sample.draw].append(sample.grader_version)
    return graders


def _sealed_by(run: RunUnderTest, grader: str) -> int:
    query = (
        "SELECT count(*) FROM slots JOIN groups USING (draw) "
        f"WHERE slots.state = 'sealed' AND groups.grader_version LIKE '{grader}%'"
    )
    return run.count(query)


def test_a_reward_is_scaled_and_swapped_under_load_and_stays_swapped(make_run: MakeRun) -> None:
    run = make_run("trainer.max_steps=2000", "trainer.ckpt_interval=-1", *LOAD, grade_s=0.1).start()
    (run.folder / "other.py").write_text(OTHER)
    (run.folder / "broken.py").write_text(BROKEN)
    run.until(lambda: run.filled() > 0, "the first sample", timeout_s=240)

    # 1 → 3 → 1: all three serve.
    run.scale("reward", 3)
    run.until(lambda: all(_graded(run, f"reward-{i}") > 0 for i in range(3)), "samples graded by all three")
    run.scale("reward", 1)
    assert [one.name for one in run.instances() if one.role == "reward"] == ["reward-0"]

    # A swap that fails leaves the old one untouched.
    refused = _tetrad(run, "reward", "swap", "--reward", "broken.py:broken")
    assert refused.returncode == 1
    assert "a reward function takes (response, ground_truth" in refused.stderr
    assert [one.name for one in run.instances() if one.role == "reward"] == ["reward-0"]

    # One that is ready takes over in the midst of half graded groups.
    run.until(lambda: run.filled() % GROUP_SIZE != 0, "a half graded group")
    swapped = _tetrad(run, "reward", "swap", "--reward", "other.py:other")
    assert swapped.returncode == 0, swapped.stderr + run.last_words()
    assert "reward-0 has finished its groups and left" in swapped.stdout
    assert [one.name for one in run.instances() if one.role == "reward"] == ["reward-v2-0"]
    assert "edition 2" in _tetrad(run, "reward", "status").stdout
    run.until(lambda: _sealed_by(run, "other.py:other") > 0, "a step with groups of the new reward")
    assert _tetrad(run, "down").returncode == 0
    assert run.finish(timeout_s=300) == 0, run.last_words()

    # The same command goes on with the new one, and its last step closes the books.
    last = run.sealed() + 2
    old, new = _sealed_by(run, "slow_reward"), _sealed_by(run, "other.py:other")
    run.overrides = (
        *run.overrides,
        "trainer.resume_mode=latest",
        "trainer.overwrite=false",
        f"trainer.max_steps={last}",
    )
    assert run.start().finish(timeout_s=300) == 0, run.last_words()

    assert "the reward was swapped in this run" in (run.folder / "train.log").read_text()
    assert _sealed_by(run, "slow_reward") == old > 0
    assert _sealed_by(run, "other.py:other") >= new + 2 * BATCH * GROUP_SIZE - BATCH * GROUP_SIZE
    graders = _journal(run)
    assert all(len(set(versions)) == 1 for versions in graders.values()), "a mixed group"
    assert all(len(versions) == GROUP_SIZE for versions in graders.values())
    assert len(graders) == last * BATCH
    assert {versions[0].rpartition("-")[0] for versions in graders.values()} == {
        "slow_reward.py:grade",
        "other.py:other",
    }
    assert run.count("SELECT count(*) FROM slots WHERE state NOT IN ('sealed', 'dropped')") == 0
    assert run.count("SELECT sum(size) FROM groups") == run.count("SELECT count(*) FROM slots")
    assert run.count("SELECT count(*) FROM groups WHERE reason = 'grader_gone'") == 0
    record = read_record(Path(run.run_dir))
    assert record is not None
    assert record.current.number == 2
    run.check_nothing_is_left()
