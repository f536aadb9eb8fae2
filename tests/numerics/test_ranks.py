"""Two and three gloo ranks in real processes compute what one rank computes."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numerics.algorithm_cases import CASES, LORA, all_weights, case_options, executed
from numerics.rank_scenarios import KL, MANY
from numerics.trainer_builders import AStep, exported, last_gradient, options
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.options import RowLayout

pytestmark = pytest.mark.usefixtures("lone_rank")

DEADLINE_S = 120


@pytest.fixture(scope="module")
def run_ranks(lone_rank: None, tied_model: Path, untied_model: Path, reference_model: Path) -> Callable[..., Path]:
    """Run the scenarios of rank_scenarios.py, once, under a launcher."""

    def run(*launcher: str, out: Path) -> Path:
        script = Path(__file__).parent / "rank_scenarios.py"
        arguments = [str(path) for path in (script, tied_model, untied_model, reference_model, out)]
        environment = os.environ | {
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
        }
        done = subprocess.run(
            [sys.executable, *launcher, *arguments],
            env=environment,
            timeout=DEADLINE_S,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return out

    return run


@pytest.fixture(scope="module")
def results(run_ranks: Callable[..., Path], tied_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks came to, started as in a run."""
    out = tmp_path_factory.mktemp("ranks")
    Trainer.create(options(tied_model)).save(out / "one-rank-checkpoint", step=0, lineage=0)
    return run_ranks("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", out=out)


@pytest.fixture(scope="module")
def results_of_three(run_ranks: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What three ranks came to, for the algorithms alone."""
    return run_ranks(out=tmp_path_factory.mktemp("three-ranks"))


@pytest.fixture(scope="module", params=CASES)
def alone(request: pytest.FixtureRequest, tied_model: Path, reference_model: Path) -> tuple[str, np.ndarray, dict]:
    """What one rank came to: the algorithm's name, weights, metrics."""
    trainer = Trainer.create(case_options(request.param, model=tied_model, reference=reference_model))
    metrics = executed(trainer)
    return request.param, all_weights(trainer), metrics


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_no_algorithm_depends_on_the_number_of_ranks(
    results: Path, results_of_three: Path, alone: tuple[str, np.ndarray, dict], num_ranks: int
) -> None:
    name, weights, metrics = alone

    theirs = dict(np.load((results if num_ranks == 2 else results_of_three) / f"{name}-{num_ranks}.npz"))

    np.testing.assert_allclose(theirs.pop("array"), weights, rtol=0, atol=1e-6)
    assert {key: float(value) for key, value in theirs.items()} == pytest.approx(metrics, abs=1e-4, rel=1e-4)


def test_what_is_gathered_comes_in_the_order_of_ranks(results: Path, results_of_three: Path) -> None:
    two, three = (np.load(out / f"gathered-{n}.npz")["array"] for n, out in ((2, results), (3, results_of_three)))

    assert two.tolist() == [[1.0, 1.0]]
    assert three.tolist() == [[1.0, 1.0], [2.0, 2.0], [2.0, 2.0]]


def test_a_rank_0_without_a_buffer_leaves_nobody_waiting_and_the_next_one_is_filled_by_all(
    results: Path, results_of_three: Path
) -> None:
    two, three = (np.load(out / f"shared-fills-{n}.npz")["array"] for n, out in ((2, results), (3, results_of_three)))

    # Every other rank has heard of the second filling only, in which all took part.
    assert two.tolist() == [1, 1, 2]
    assert three.tolist() == [1, 1, 1, 3]


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_weights_are_offered_on_the_gpu_of_each_rank_once_all_agree_on_the_bytes(
    results: Path, results_of_three: Path, num_ranks: int
) -> None:
    out = results if num_ranks == 2 else results_of_three

    for rank in range(num_ranks):
        assert (out / f"handles-{rank}").read_text().split() == [f"GPU-{n}" for n in range(num_ranks)]
        complaint = (out / f"handles-disagree-{rank}").read_text()
        other = 1 if rank == 0 else 0
        assert f"rank {other} exported digest digest of {other}, rank {rank} digest of {rank}" in complaint


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_two_ranks_give_the_gradient_of_one(results: Path, kind: str, request: pytest.FixtureRequest) -> None:
    step = dataclasses.replace(MANY, num_mini_batches=1, update_epochs=1)
    alone = Trainer.create(options(request.getfixturevalue(f"{kind}_model")))

    metrics = alone.execute(step.share()).metrics

    theirs = np.load(results / f"gradient-{kind}.npz")
    np.testing.assert_allclose(theirs["array"], last_gradient(alone), rtol=0, atol=1e-6)
    for name in ("loss", "entropy", "grad_norm", "logprob_diff_mean", "logprob_diff_max", "tokens"):
        assert float(theirs[name]) == pytest.approx(metrics[name], abs=1e-5), name


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_two_ranks_give_the_gradient_of_one_to_adapters(
    results: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    step = dataclasses.replace(MANY, num_mini_batches=1, update_epochs=1)
    alone = Trainer.create(options(request.getfixturevalue(f"{kind}_model"), algorithm=KL, lora=LORA))

    metrics = alone.execute(step.share()).metrics

    theirs = np.load(results / f"gradient-of-adapters-{kind}.npz")
    assert np.abs(theirs["array"]).max() > 1e-2
    np.testing.assert_allclose(theirs["array"], last_gradient(alone), rtol=0, atol=1e-6)
    assert float(theirs["kl_loss"]) == metrics["kl_loss"] == 0.0
    for name in ("loss", "entropy", "grad_norm", "logprob_diff_mean", "tokens"):
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


def test_a_rank_without_samples_changes_nothing_of_adapters(results: Path, tied_model: Path) -> None:
    alone = Trainer.create(options(tied_model, lora=LORA))

    alone.execute(AStep().share())

    theirs = np.load(results / "idle-adapters.npz")["array"]
    np.testing.assert_allclose(theirs, last_gradient(alone), rtol=0, atol=1e-6)


def test_two_ranks_resume_adapters_bit_for_bit(results: Path) -> None:
    straight, resumed = (np.load(results / f"adapters-{name}.npz")["array"] for name in ("straight", "resumed"))

    assert np.array_equal(straight, resumed)


def test_adapters_that_two_ranks_saved_go_on_on_one(results: Path, tied_model: Path) -> None:
    alone = Trainer.create(options(tied_model, algorithm=KL, lora=LORA))

    position = alone.load(results / "adapters-checkpoint")

    assert position.optimizer_steps == 2
    assert np.array_equal(exported(alone), np.load(results / "adapters-saved.npz")["array"])
    alone.execute(AStep(seed=2).share())
    straight = np.load(results / "adapters-straight.npz")["array"]
    np.testing.assert_allclose(exported(alone), straight, rtol=0, atol=1e-6)


def test_the_folder_of_two_ranks_holds_adapters_that_peft_merges_alike(results: Path, tied_model: Path) -> None:
    folder = results / "adapters-checkpoint"
    merged = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    base = AutoModelForCausalLM.from_pretrained(tied_model)

    by_peft = PeftModel.from_pretrained(base, str(folder / "adapter")).merge_and_unload().state_dict()

    assert merged.keys() == by_peft.keys()
    for name, tensor in merged.items():
        np.testing.assert_allclose(tensor, by_peft[name], rtol=0, atol=1e-6)


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
