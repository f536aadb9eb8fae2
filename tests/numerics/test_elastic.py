"""A checkpoint of two ranks goes on with one and with three; a rank killed in mid-step costs nothing but time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numerics.elastic_ranks import MINI_BATCHES, STEPS, replay
from numerics.trainer_builders import VOCABULARY, exported, options
from unit.learner.coordinator.journal_builders import a_journal_sample

from tetrad_learner.trainer.engine import Trainer
from tetrad_trajectories.journal import JournalStep, step_path, write_step

pytestmark = pytest.mark.usefixtures("lone_rank")

DEADLINE_S = 120
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(Path(__file__).parent.parent),
    "OMP_NUM_THREADS": "1",
    "GLOO_SOCKET_IFNAME": "lo",
}


@pytest.fixture(scope="module")
def out(lone_rank: None, tied_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What elastic_ranks.py left, run once by one script."""
    folder = tmp_path_factory.mktemp("elastic")
    Trainer.create(options(tied_model)).save(folder / "before", step=0, lineage=0)
    write_step(step_path(folder, 1), a_journaled_step())
    command = [sys.executable, str(Path(__file__).parent / "elastic_ranks.py"), str(tied_model), str(folder)]
    done = subprocess.run(command, env=ENVIRONMENT, timeout=DEADLINE_S, capture_output=True, text=True, check=False)
    for rank in range(3):
        assert (folder / f"rank-{rank}-status").read_text() == "0", done.stderr[-4000:]
    return folder


def a_journaled_step() -> JournalStep:
    """Three mini-batches of two groups of two."""
    rng = np.random.default_rng(0)
    samples = []
    for draw in range(2 * MINI_BATCHES):
        for index in range(2):
            sample = a_journal_sample(draw, index, num_sampled=3 + draw, reward=float(rng.integers(0, 3)))
            sample.token_ids[:] = rng.integers(0, VOCABULARY, len(sample.token_ids))
            samples.append(sample)
    ends = tuple(4 * (number + 1) for number in range(MINI_BATCHES))
    return JournalStep(run_id="run", step=1, lineage=1, samples=tuple(samples), mini_batch_ends=ends)


def test_what_two_ranks_saved_is_whole_on_three(out: Path) -> None:
    assert np.array_equal(np.load(out / "loaded-on-three.npy"), np.load(out / "saved.npy"))


def test_three_ranks_go_on_as_the_two_would_have(out: Path) -> None:
    np.testing.assert_allclose(np.load(out / "resumed-on-three.npy"), np.load(out / "straight.npy"), rtol=0, atol=1e-6)


def test_one_rank_goes_on_as_the_two_would_have(out: Path, tied_model: Path) -> None:
    alone = Trainer.create(options(tied_model))
    alone.load(out / "checkpoint")
    assert np.array_equal(exported(alone), np.load(out / "saved.npy"))

    alone.execute(STEPS[2].share())

    np.testing.assert_allclose(exported(alone), np.load(out / "straight.npy"), rtol=0, atol=1e-6)


def test_a_rank_killed_between_optimizer_steps_leaves_what_a_reload_repeats_bit_for_bit(
    out: Path, tied_model: Path
) -> None:
    assert (out / "victim-status").read_text() == str(-signal.SIGKILL)
    untouched = Trainer.create(options(tied_model))
    expected = replay(untouched, out)

    reloaded = Trainer.create(options(tied_model))
    reloaded.load(out / "before")
    found = replay(reloaded, out)

    assert untouched.optimizer_steps == MINI_BATCHES
    assert (found["loss"], found["grad_norm"]) == (expected["loss"], expected["grad_norm"])
    assert np.array_equal(exported(reloaded), exported(untouched))
