"""Two gloo ranks in real processes compute what one rank computes."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numerics.rank_scenarios import KL, MANY
from numerics.trainer_builders import AStep, exported, last_gradient, options
from transformers import AutoModelForCausalLM

from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.options import RowLayout

pytestmark = pytest.mark.usefixtures("lone_rank")

DEADLINE_S = 120


@pytest.fixture(scope="module")
def results(lone_rank: None, tied_model: Path, untied_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run all scenarios of rank_scenarios.py on two ranks, once."""
    out = tmp_path_factory.mktemp("ranks")
    Trainer.create(options(tied_model)).save(out / "one-rank-checkpoint", step=0, lineage=0)
    script = Path(__file__).parent / "rank_scenarios.py"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    done = subprocess.run(
        [*launcher, str(tied_model), str(untied_model), str(out)],
        env=environment,
        timeout=DEADLINE_S,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return out


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_two_ranks_give_the_gradient_of_one(results: Path, kind: str, request: pytest.FixtureRequest) -> None:
    step = dataclasses.replace(MANY, num_mini_batches=1, update_epochs=1)
    alone = Trainer.create(options(request.getfixturevalue(f"{kind}_model")))

    metrics = alone.execute(step.share()).metrics

    theirs = np.load(results / f"gradient-{kind}.npz")
    np.testing.assert_allclose(theirs["array"], last_gradient(alone), rtol=0, atol=1e-6)
    for name in ("loss", "entropy", "grad_norm", "logprob_diff_mean", "logprob_diff_max", "tokens"):
        assert float(theirs[name]) == pytest.approx(metrics[name], abs=1e-5), name


@pytest.mark.parametrize("layout", RowLayout)
def test_two_ranks_give_the_weights_of_one_after_epochs_of_mini_batches(
    results: Path, tied_model: Path, layout: RowLayout
) -> None:
    alone = Trainer.create(options(tied_model, algorithm=KL))

    metrics = alone.execute(MANY.share()).metrics

    theirs = np.load(results / f"epochs-{layout}.npz")
    np.testing.assert_allclose(theirs["array"], exported(alone), rtol=0, atol=1e-6)
    assert float(theirs["kl_loss"]) == pytest.approx(metrics["kl_loss"], abs=1e-6)
    assert float(theirs["clip_ratio"]) == pytest.approx(metrics["clip_ratio"], abs=1e-6)


def test_a_rank_without_samples_changes_nothing(results: Path, tied_model: Path) -> None:
    alone = Trainer.create(options(tied_model))

    alone.execute(AStep().share())

    theirs = np.load(results / "idle.npz")
    np.testing.assert_allclose(theirs["array"], last_gradient(alone), rtol=0, atol=1e-6)


def test_two_ranks_resume_bit_for_bit(results: Path) -> None:
    straight, resumed = (np.load(results / f"{name}.npz")["array"] for name in ("straight", "resumed"))

    assert np.array_equal(straight, resumed)


def test_what_two_ranks_saved_loads_on_one(results: Path, tied_model: Path) -> None:
    alone = Trainer.create(options(tied_model))

    position = alone.load(results / "checkpoint")
    alone.execute(AStep(seed=2).share())

    assert position.optimizer_steps == 2
    straight = np.load(results / "straight.npz")["array"]
    np.testing.assert_allclose(exported(alone), straight, rtol=0, atol=1e-6)


def test_what_one_rank_saved_loads_on_two(results: Path, tied_model: Path) -> None:
    weights = exported(Trainer.create(options(tied_model)))

    assert np.array_equal(np.load(results / "from-one-rank.npz")["array"], weights)


def test_the_folder_of_two_ranks_loads_with_transformers(results: Path, tied_model: Path) -> None:
    alone = Trainer.create(options(tied_model))
    alone.load(results / "checkpoint")

    loaded = AutoModelForCausalLM.from_pretrained(results / "checkpoint")

    flat = np.concatenate([p.detach().numpy().ravel() for p in loaded.parameters()])
    assert np.array_equal(flat, exported(alone))


def test_two_ranks_are_deterministic(results: Path) -> None:
    first, second = (np.load(results / f"twice-{attempt}.npz")["array"] for attempt in range(2))

    assert np.array_equal(first, second)


def test_ranks_with_different_steps_refuse_to_compute(results: Path) -> None:
    for rank in range(2):
        assert "ranks [1] have another batch" in (results / f"disagreement-{rank}").read_text()


def test_poison_on_one_rank_stops_all_before_the_optimizer(results: Path) -> None:
    for rank in range(2):
        assert "the step is poisoned" in (results / f"poison-{rank}").read_text()
    assert not np.load(results / "poison-weights.npz")["array"].any()
