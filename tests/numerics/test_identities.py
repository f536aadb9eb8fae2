"""What must hold exactly: ratios of one, gradients of KL, steps that are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numerics.trainer_builders import AStep, a_model, exported, last_gradient, options
from transformers import AutoModelForCausalLM

from tetrad_learner.trainer.batch import DTYPES
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.errors import BatchError, NonFiniteError
from tetrad_learner.trainer.options import AlgorithmOptions, OptimizerOptions
from tetrad_learner.trainer.progress import Phase, Progress

pytestmark = pytest.mark.usefixtures("lone_rank")

FROZEN = OptimizerOptions(lr=0.0)


@pytest.mark.parametrize("epochs", [1, 3])
def test_before_the_first_update_ratios_are_one_and_the_reference_is_the_policy(model: Path, epochs: int) -> None:
    algorithm = AlgorithmOptions(use_kl_loss=True, eps_clip_low=0.0, eps_clip_high=0.0)
    trainer = Trainer.create(options(model, algorithm=algorithm, optimizer=FROZEN, micro_train_batch_size=5))

    metrics = trainer.execute(AStep(num_mini_batches=2, update_epochs=epochs).share()).metrics

    assert metrics["clip_ratio"] == 0.0
    assert metrics["kl_loss"] == 0.0
    assert metrics["optimizer_steps"] == 2 * epochs


def test_a_single_optimizer_step_computes_no_old_logprobs(tied_model: Path) -> None:
    phases: list[Phase] = []
    trainer = Trainer.create(options(tied_model, micro_train_batch_size=4))

    trainer.execute(AStep().share(), on_progress=lambda progress: phases.append(progress.phase))

    assert set(phases) == {Phase.FORWARD_BACKWARD}


def test_progress_counts_every_micro_batch_of_every_phase(tied_model: Path) -> None:
    seen: list[Progress] = []
    trainer = Trainer.create(
        options(tied_model, micro_train_batch_size=2, algorithm=AlgorithmOptions(use_kl_loss=True))
    )

    trainer.execute(AStep(num_mini_batches=2, update_epochs=2).share(), on_progress=seen.append)

    last = {progress.phase: (progress.done, progress.total) for progress in seen}
    assert last == {
        Phase.REFERENCE_LOGPROBS: (6, 6),
        Phase.OLD_LOGPROBS: (6, 6),
        Phase.FORWARD_BACKWARD: (12, 12),
    }


def test_a_step_says_what_each_of_its_samples_was_worth(tied_model: Path) -> None:
    step = AStep()
    trainer = Trainer.create(options(tied_model, algorithm=AlgorithmOptions(advantage_estimator="rloo")))

    halves = [trainer.execute(step.only(order)).advantages for order in (range(12), range(11, -1, -1))]

    rewards = step.rewards.reshape(step.num_groups, step.group_size)
    others = (rewards.sum(axis=1, keepdims=True) - rewards) / (step.group_size - 1)
    np.testing.assert_allclose(halves[0], (rewards - others).ravel(), atol=1e-6)
    np.testing.assert_array_equal(halves[1], halves[0][::-1])


def test_the_rollout_mismatch_is_the_distance_of_the_logprobs(tied_model: Path) -> None:
    step = AStep()
    distances = mismatch(tied_model, step)
    trainer = Trainer.create(options(tied_model, micro_train_batch_size=5))

    metrics = trainer.execute(step.share()).metrics

    assert metrics["logprob_diff_mean"] == pytest.approx(distances.mean(), abs=1e-5)
    assert metrics["logprob_diff_max"] == pytest.approx(distances.max(), abs=1e-5)
    assert metrics["tokens"] == len(distances)


def mismatch(folder: Path, step: AStep) -> np.ndarray:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = []
    for sample in step.samples:
        ids = torch.from_numpy(sample["token_ids"]).long()
        with torch.no_grad():
            logprobs = model(input_ids=ids[None]).logits[0, :-1].log_softmax(-1).gather(-1, ids[1:, None])[:, 0]
        mask = sample["loss_mask"][1:] == 1
        found.append(np.abs(logprobs.numpy() - sample["rollout_logprobs"][1:])[mask])
    return np.concatenate(found)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3", "abs"])
def test_the_kl_coefficient_changes_the_gradient(tied_model: Path, tmp_path: Path, estimator: str) -> None:
    other = a_model(tmp_path / "reference", seed=7)

    gradients = []
    for coefficient in (0.0, 0.5):
        algorithm = AlgorithmOptions(use_kl_loss=True, kl_loss_coef=coefficient, kl_estimator_type=estimator)
        trainer = Trainer.create(options(tied_model, algorithm=algorithm, reference_path=str(other)))
        trainer.execute(AStep().share())
        gradients.append(last_gradient(trainer))

    assert np.abs(gradients[1] - gradients[0]).max() > 1e-3


def test_the_reference_stays_where_the_policy_began(tied_model: Path) -> None:
    algorithm = AlgorithmOptions(use_kl_loss=True)
    trainer = Trainer.create(options(tied_model, algorithm=algorithm))

    kl = [trainer.execute(AStep(seed=s).share()).metrics["kl_loss"] for s in range(3)]

    assert kl[0] == 0.0
    assert 0.0 < kl[1] < kl[2]


def test_a_non_finite_loss_poisons_the_step_and_leaves_the_weights(tmp_path: Path) -> None:
    folder = a_model(tmp_path / "model")
    trainer = Trainer.create(options(folder))
    with torch.no_grad():
        trainer._policy.causal_lm.model.norm.weight.fill_(float("inf"))
    before = exported(trainer)

    with pytest.raises(NonFiniteError, match=r"loss is nan in step 1, mini-batch 0"):
        trainer.execute(AStep().share())

    assert np.array_equal(exported(trainer), before)


def test_a_non_finite_gradient_poisons_the_step_and_leaves_the_weights(tied_model: Path) -> None:
    trainer = Trainer.create(options(tied_model))
    before = exported(trainer)
    batch = AStep().share()
    huge = dataclasses.replace(batch, rewards=batch.rewards * np.float32(1e38))
    algorithm = AlgorithmOptions(grpo_std="none")
    trainer = Trainer.create(options(tied_model, algorithm=algorithm))

    with pytest.raises(NonFiniteError, match="step 1, mini-batch 0; the step is poisoned"):
        trainer.execute(huge)

    assert np.array_equal(exported(trainer), before)


def test_a_token_beyond_the_vocabulary_is_refused(tied_model: Path) -> None:
    batch = AStep().share()
    batch.token_ids[3] = 40
    trainer = Trainer.create(options(tied_model))

    with pytest.raises(BatchError, match="token id 40 lies beyond the vocabulary of 40"):
        trainer.execute(batch)


def test_a_step_that_lacks_a_sample_is_refused(tied_model: Path) -> None:
    trainer = Trainer.create(options(tied_model))

    with pytest.raises(BatchError, match="sample 11 of step 1 is on 0 ranks"):
        trainer.execute(AStep().only(range(11)))


def test_a_step_that_trains_nothing_is_refused(tied_model: Path) -> None:
    batch = AStep(num_mini_batches=2).share()
    batch.loss_mask[:] = 0
    trainer = Trainer.create(options(tied_model))

    with pytest.raises(BatchError, match="none of the 12 samples of step 1 has a token to train on"):
        trainer.execute(batch)


def test_a_mini_batch_that_trains_nothing_takes_no_optimizer_step(tied_model: Path) -> None:
    both = AStep(num_mini_batches=2).share()
    both.loss_mask[: both.offsets[6]] = 0
    second = dataclasses.replace(both, mini_batch=np.zeros_like(both.mini_batch))
    trainers = [Trainer.create(options(tied_model)) for _ in range(2)]

    metrics = [trainer.execute(each).metrics for trainer, each in zip(trainers, (both, second), strict=True)]

    assert np.array_equal(*[exported(trainer) for trainer in trainers])
    assert [trainer.optimizer_steps for trainer in trainers] == [1, 1]
    assert [each["skipped_mini_batches"] for each in metrics] == [1.0, 0.0]


def test_a_step_that_filters_leave_nothing_of_changes_nothing(tied_model: Path) -> None:
    batch = dataclasses.replace(AStep().share(), rewards=np.ones(12, dtype=np.float32))
    trainer = Trainer.create(options(tied_model, algorithm=AlgorithmOptions(zero_variance_filter=True)))
    before = exported(trainer)

    metrics = trainer.execute(batch).metrics

    assert np.array_equal(exported(trainer), before)
    assert (metrics["optimizer_steps"], metrics["skipped_mini_batches"]) == (0.0, 1.0)


def test_wholly_masked_samples_cost_nothing_and_change_nothing_under_token_mean(tied_model: Path) -> None:
    batch = AStep().share()
    batch.loss_mask[: batch.offsets[2]] = 0
    shuffled = dataclasses.replace(batch, token_ids=batch.token_ids.copy())
    shuffled.token_ids[: batch.offsets[2]] = 5
    trainers = [Trainer.create(options(tied_model)) for _ in range(2)]

    for trainer, each in zip(trainers, (batch, shuffled), strict=True):
        trainer.execute(each)

    assert np.array_equal(*[last_gradient(trainer) for trainer in trainers])


@pytest.mark.filterwarnings("error")
def test_arrays_that_nobody_may_write_to_are_trained_on_without_a_warning(tied_model: Path) -> None:
    batch = AStep().share()
    for name in DTYPES:
        getattr(batch, name).flags.writeable = False
    trainers = [Trainer.create(options(tied_model)) for _ in range(2)]

    for trainer, each in zip(trainers, (batch, AStep().share()), strict=True):
        trainer.execute(each)

    assert np.array_equal(*[last_gradient(trainer) for trainer in trainers])
