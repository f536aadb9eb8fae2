"""The gradient depends on the batch alone: not on micro-batches, rows, padding, or the order of samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numerics.algorithm_cases import CASES, STEPS, all_weights, case_options, executed
from numerics.trainer_builders import AStep, exported, last_gradient, options
from transformers import AutoModelForCausalLM

from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.options import AlgorithmOptions, ComputeDtype, RowLayout, ShardingOptions

pytestmark = pytest.mark.usefixtures("lone_rank")

CUTS = {
    "micro 1": {"micro_train_batch_size": 1},
    "micro 2": {"micro_train_batch_size": 2},
    "micro 8": {"micro_train_batch_size": 8},
    "packed": {"micro_train_batch_size": 64, "row_layout": RowLayout.PACKED},
    "packed 5": {"micro_train_batch_size": 5, "row_layout": RowLayout.PACKED},
    "tokens 30": {"micro_train_batch_size": 64, "max_tokens_per_micro_batch": 30},
    "packed tokens 30": {
        "micro_train_batch_size": 64,
        "max_tokens_per_micro_batch": 30,
        "row_layout": RowLayout.PACKED,
    },
    "gathered until backward": {
        "micro_train_batch_size": 5,
        "sharding": ShardingOptions(reshard_after_forward=False),
    },
    "checkpointing": {"micro_train_batch_size": 64, "gradient_checkpointing": True},
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
def test_the_gradient_does_not_depend_on_how_the_batch_was_cut(model: Path, cut: dict) -> None:
    whole = Trainer.create(options(model, micro_train_batch_size=64))
    parts = Trainer.create(options(model, **cut))

    whole.execute(AStep().share())
    parts.execute(AStep().share())

    np.testing.assert_allclose(last_gradient(parts), last_gradient(whole), rtol=0, atol=1e-6)


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_mean", "seq_mean_token_sum_norm"])
def test_weights_after_epochs_and_mini_batches_do_not_depend_on_the_cut(
    tied_model: Path, untied_model: Path, reduction: str
) -> None:
    algorithm = AlgorithmOptions(
        loss_reduction=reduction,
        max_sequence_tokens=20,
        use_kl_loss=True,
        kl_loss_coef=0.1,
        entropy_loss_coef=0.01,
        temperature=0.8,
    )
    step = AStep(num_mini_batches=3, update_epochs=2)
    trainers = [
        Trainer.create(
            options(tied_model, algorithm=algorithm, micro_train_batch_size=micro, row_layout=RowLayout(layout))
        )
        for micro, layout in ((1, "padded"), (3, "packed"), (64, "padded"))
    ]

    results = [trainer.execute(step.share()).metrics for trainer in trainers]

    first, *others = [exported(trainer) for trainer in trainers]
    for other in others:
        np.testing.assert_allclose(other, first, rtol=0, atol=1e-6)
    for key in ("loss", "kl_loss", "entropy", "grad_norm", "logprob_diff_mean"):
        assert results[1][key] == pytest.approx(results[0][key], abs=1e-5)


@dataclass(frozen=True)
class Case:
    """One algorithm."""

    make: Callable[..., Trainer]
    weights: np.ndarray
    metrics: dict[str, float]


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tied_model: Path, reference_model: Path) -> Case:
    """An algorithm, and what two steps of it come to in one piece."""
    name: str = request.param
    trainer = Trainer.create(case_options(name, model=tied_model, reference=reference_model))
    metrics = executed(trainer)
    return Case(
        make=lambda **changes: Trainer.create(
            case_options(name, model=tied_model, reference=reference_model, **changes)
        ),
        weights=all_weights(trainer),
        metrics=metrics,
    )


@pytest.mark.parametrize("cut", ["micro 1", "micro 2", "packed 5", "packed tokens 30"])
def test_no_algorithm_depends_on_how_the_batch_was_cut(case: Case, cut: str) -> None:
    parts = case.make(**CUTS[cut])

    metrics = executed(parts)

    np.testing.assert_allclose(all_weights(parts), case.weights, rtol=0, atol=1e-6)
    assert metrics == pytest.approx(case.metrics, abs=1e-4, rel=1e-4)


def test_no_algorithm_depends_on_what_follows_the_last_trained_token(case: Case) -> None:
    padded = case.make()

    for step in STEPS:
        padded.execute(with_tail(step.share(), num_tokens=3))

    assert np.array_equal(all_weights(padded), case.weights)


def with_tail(batch: StepBatch, *, num_tokens: int) -> StepBatch:
    """Append tokens that nobody trains to each sample, as padding or a last observation would be."""
    ends = np.repeat(batch.offsets[1:], num_tokens)
    tail = {"token_ids": 7, "loss_mask": 0, "rollout_logprobs": -0.5}
    longer = {name: np.insert(getattr(batch, name), ends, value) for name, value in tail.items()}
    return dataclasses.replace(batch, lengths=batch.lengths + np.int32(num_tokens), **longer)


def test_no_algorithm_depends_on_the_order_in_which_a_rank_holds_its_samples(case: Case) -> None:
    shuffled = case.make()

    for step in STEPS:
        order = np.random.default_rng(step.seed).permutation(step.num_samples)
        shuffled.execute(step.only([int(index) for index in order]))

    np.testing.assert_allclose(all_weights(shuffled), case.weights, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_of_any_batch_is_that_of_its_samples_one_by_one(tied_model: Path, seed: int) -> None:
    step = AStep(num_groups=2, group_size=3, seed=20 + seed, longest=24)
    together = Trainer.create(options(tied_model, micro_train_batch_size=64))
    alone = Trainer.create(options(tied_model, micro_train_batch_size=1, row_layout=RowLayout.PACKED))

    together.execute(step.share())
    alone.execute(step.share())

    np.testing.assert_allclose(last_gradient(alone), last_gradient(together), rtol=0, atol=1e-6)


def test_the_gradient_is_that_of_the_textbook_loop(model: Path) -> None:
    step = AStep()
    trainer = Trainer.create(options(model, micro_train_batch_size=4))

    metrics = trainer.execute(step.share()).metrics

    expected, loss = textbook_gradient(model, step)
    np.testing.assert_allclose(last_gradient(trainer), expected, rtol=0, atol=1e-6)
    assert metrics["loss"] == pytest.approx(loss, abs=1e-6)
    assert metrics["grad_norm"] == pytest.approx(np.linalg.norm(expected), rel=1e-5)


def textbook_gradient(folder: Path, step: AStep) -> tuple[np.ndarray, float]:
    """GRPO, sample by sample, from the model's own logits."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    groups = step.rewards.reshape(-1, step.group_size)
    advantages = (groups - groups.mean(1, keepdims=True)) / (groups.std(1, ddof=1, keepdims=True) + 1e-6)
    tokens = sum(int(sample["loss_mask"].sum()) for sample in step.samples)
    total = torch.zeros(())
    for sample, advantage in zip(step.samples, advantages.ravel(), strict=True):
        ids = torch.from_numpy(sample["token_ids"]).long()
        logprobs = model(input_ids=ids[None]).logits[0, :-1].log_softmax(-1)
        logprobs = logprobs.gather(-1, ids[1:, None])[:, 0]
        ratio = (logprobs - logprobs.detach()).exp()
        total = total - (ratio * float(advantage) * torch.from_numpy(sample["loss_mask"])[1:]).sum() / tokens
    total.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()]).numpy(), float(total)


def test_the_same_step_twice_gives_bit_identical_weights(model: Path) -> None:
    step = AStep(num_mini_batches=2, update_epochs=2)

    weights = []
    for _ in range(2):
        trainer = Trainer.create(options(model, micro_train_batch_size=3))
        trainer.execute(step.share())
        weights.append(exported(trainer))

    assert np.array_equal(*weights)


def test_bfloat16_compute_keeps_float32_masters_and_comes_near(tied_model: Path) -> None:
    exact = Trainer.create(options(tied_model))
    coarse = Trainer.create(options(tied_model, compute_dtype=ComputeDtype.BFLOAT16))

    exact.execute(AStep().share())
    coarse.execute(AStep().share())

    assert {shape.dtype for shape in coarse.weight_shapes()} == {"float32"}
    expected = last_gradient(exact)
    assert np.linalg.norm(last_gradient(coarse) - expected) < 0.05 * np.linalg.norm(expected)
