"""The order inside a step: which passes run, what corrections do to the gradient, what goes on over checkpoints."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numerics.trainer_builders import AStep, exported, last_gradient, options
from transformers import AutoModelForCausalLM

from tetrad_algorithms.losses import policy_losses
from tetrad_learner.trainer.algorithm_options import (
    AlgorithmOptions,
    CorrectionSettings,
    KlRewardSettings,
    RatioLevel,
    SequenceMask,
)
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.options import CriticOptions
from tetrad_learner.trainer.progress import Phase

pytestmark = pytest.mark.usefixtures("lone_rank")

TIS = CorrectionSettings(level=RatioLevel.TOKEN, token_clip_high=0.4)
MASKED = CorrectionSettings(
    level=RatioLevel.TOKEN,
    token_clip_high=0.4,
    token_mask_low=0.02,
    token_mask_high=9.0,
    sequence_mask=SequenceMask.GEOMETRIC,
    geo_mask_low=0.05,
    geo_mask_high=2.0,
)
OLD, REFERENCE, VALUES = Phase.OLD_LOGPROBS, Phase.REFERENCE_LOGPROBS, Phase.VALUES


@pytest.mark.parametrize(
    ("algorithm", "mini_batches", "passes"),
    [
        (AlgorithmOptions(), 1, set()),
        (AlgorithmOptions(), 2, {OLD}),
        (AlgorithmOptions(use_rollout_logprobs_as_old=True), 2, set()),
        (AlgorithmOptions(use_kl_loss=True), 1, {REFERENCE}),
        (AlgorithmOptions(use_kl_in_reward=True), 1, {REFERENCE, OLD}),
        (AlgorithmOptions(use_kl_in_reward=True, use_rollout_logprobs_as_old=True), 1, {REFERENCE}),
        (AlgorithmOptions(correction=TIS), 1, {OLD}),
        (AlgorithmOptions(policy_loss_type="clip_cov"), 1, {OLD}),
        (AlgorithmOptions(advantage_estimator="gae"), 1, {VALUES}),
    ],
)
def test_no_pass_runs_that_nobody_needs(
    tied_model: Path, algorithm: AlgorithmOptions, mini_batches: int, passes: set[Phase]
) -> None:
    seen: set[Phase] = set()
    critic = CriticOptions(path=str(tied_model)) if algorithm.advantage_estimator == "gae" else None
    trainer = Trainer.create(options(tied_model, algorithm=algorithm, critic=critic))

    trainer.execute(AStep(num_mini_batches=mini_batches).share(), on_progress=lambda progress: seen.add(progress.phase))

    assert seen & {OLD, REFERENCE, VALUES} == passes


@pytest.mark.parametrize("loss", policy_losses.names())
@pytest.mark.parametrize("epochs", [1, 2])
def test_before_the_first_update_old_and_current_policy_are_one(tied_model: Path, loss: str, epochs: int) -> None:
    frozen = dataclasses.replace(options(tied_model).optimizer, lr=0.0)
    trainer = Trainer.create(options(tied_model, algorithm=AlgorithmOptions(policy_loss_type=loss), optimizer=frozen))

    metrics = trainer.execute(AStep(update_epochs=epochs).share()).metrics

    assert metrics["ppo_kl"] == pytest.approx(0.0, abs=1e-9)
    if loss in ("regular", "dual_clip", "gspo", "cispo", "sapo"):
        assert metrics["clip_ratio"] == 0.0


def test_engine_and_learner_that_agree_have_nothing_to_correct(tied_model: Path) -> None:
    step = AStep()
    near = dataclasses.replace(step.share(), rollout_logprobs=learners_logprobs(tied_model, step))
    strict = CorrectionSettings(
        level=RatioLevel.SEQUENCE,
        sequence_mask=SequenceMask.GEOMETRIC,
        token_mask_low=0.999,
        token_mask_high=1.001,
        outlier_low=0.99,
        outlier_high=1.01,
    )
    plain = Trainer.create(options(tied_model))
    corrected = Trainer.create(options(tied_model, algorithm=AlgorithmOptions(correction=strict)))

    plain.execute(near)
    metrics = corrected.execute(near).metrics

    np.testing.assert_allclose(last_gradient(corrected), last_gradient(plain), rtol=0, atol=1e-5)
    assert metrics["correction_masked_tokens_ratio"] == 0.0
    assert metrics["correction_is_ratio_ess"] == pytest.approx(1.0, abs=1e-6)
    assert metrics["logprob_diff_p99"] == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("settings", [TIS, MASKED], ids=["weighed", "weighed and masked"])
def test_the_corrected_gradient_is_that_of_the_textbook_loop(tied_model: Path, settings: CorrectionSettings) -> None:
    step = AStep()
    trainer = Trainer.create(options(tied_model, algorithm=AlgorithmOptions(correction=settings)))

    metrics = trainer.execute(step.share()).metrics

    gradient, masked = corrected_gradient(tied_model, step, settings)
    np.testing.assert_allclose(last_gradient(trainer), gradient, rtol=0, atol=1e-6)
    assert metrics["correction_masked_tokens_ratio"] == pytest.approx(masked)
    assert (0 < masked < 1) == settings.masks


def corrected_gradient(folder: Path, step: AStep, settings: CorrectionSettings) -> tuple[np.ndarray, float]:
    """GRPO with each token's weight and mask, over the tokens that are left; and the share of those that are not."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    groups = step.rewards.reshape(-1, step.group_size)
    advantages = (groups - groups.mean(1, keepdims=True)) / (groups.std(1, ddof=1, keepdims=True) + 1e-6)
    total, kept, num_tokens = torch.zeros(()), 0, 0
    for sample, advantage in zip(step.samples, advantages.ravel(), strict=True):
        ids, places = torch.from_numpy(sample["token_ids"]).long(), np.flatnonzero(sample["loss_mask"])
        logprobs = model(input_ids=ids[None]).logits[0, :-1].log_softmax(-1).gather(-1, ids[1:, None])[:, 0]
        current = logprobs[places - 1]
        log_ratio = current.detach().double().numpy() - sample["rollout_logprobs"][places]
        ratio = np.exp(log_ratio)
        keep = np.ones(len(ratio), dtype=bool)
        if settings.masks:
            geometric = np.exp(log_ratio.mean())
            keep &= (ratio >= settings.token_mask_low) & (ratio <= settings.token_mask_high)
            keep &= settings.geo_mask_low <= geometric <= settings.geo_mask_high
        weight = torch.from_numpy(np.minimum(ratio, settings.token_clip_high) * keep).float()
        total = total - ((current - current.detach()).exp() * float(advantage) * weight).sum()
        kept, num_tokens = kept + int(keep.sum()), num_tokens + len(keep)
    (total / kept).backward()
    flat = torch.cat([p.grad.flatten() for p in model.parameters()]).numpy()
    return flat, 1 - kept / num_tokens


def learners_logprobs(folder: Path, step: AStep) -> np.ndarray:
    """float32[T]: what the model itself says, 0 where nothing is trained."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = []
    for sample in step.samples:
        ids = torch.from_numpy(sample["token_ids"]).long()
        with torch.no_grad():
            logprobs = model(input_ids=ids[None]).logits[0, :-1].log_softmax(-1).gather(-1, ids[1:, None])[:, 0]
        found.append(np.concatenate([[0.0], logprobs.numpy()]) * sample["loss_mask"])
    return np.concatenate(found).astype(np.float32)


def test_rollout_logprobs_as_old_are_what_the_ratio_is_taken_to(tied_model: Path) -> None:
    step = AStep()
    frozen = dataclasses.replace(options(tied_model).optimizer, lr=0.0)
    algorithm = AlgorithmOptions(use_rollout_logprobs_as_old=True)
    trainer = Trainer.create(options(tied_model, algorithm=algorithm, optimizer=frozen))

    metrics = trainer.execute(step.share()).metrics

    batch = step.share()
    distance = (batch.rollout_logprobs - learners_logprobs(tied_model, step))[batch.loss_mask == 1]
    assert metrics["ppo_kl"] == pytest.approx(distance.mean(), abs=1e-5)
    assert metrics["logprob_diff_mean"] == pytest.approx(np.abs(distance).mean(), abs=1e-5)


def test_without_flat_groups_the_loss_divides_by_the_tokens_that_are_left(tied_model: Path) -> None:
    step = AStep()
    rewards = step.rewards.copy()
    rewards[4:8] = 1.0
    batch = dataclasses.replace(step.share(), rewards=rewards)
    by_hand = dataclasses.replace(batch, loss_mask=batch.loss_mask.copy())
    by_hand.loss_mask[batch.offsets[4] : batch.offsets[8]] = 0
    filtered = Trainer.create(options(tied_model, algorithm=AlgorithmOptions(zero_variance_filter=True)))
    plain = Trainer.create(options(tied_model))

    metrics = filtered.execute(batch).metrics
    plain.execute(by_hand)

    assert np.array_equal(last_gradient(filtered), last_gradient(plain))
    assert metrics["tokens"] == by_hand.loss_mask.sum()


def test_an_adaptive_coefficient_goes_on_as_if_nothing_had_stopped(tied_model: Path, tmp_path: Path) -> None:
    algorithm = AlgorithmOptions(
        use_kl_in_reward=True, kl_loss_coef=0.3, kl_reward=KlRewardSettings(is_adaptive=True, target=9.0, horizon=7)
    )
    steps = [AStep(seed=seed, step=1 + seed, num_mini_batches=2) for seed in range(4)]
    straight, stopped, resumed = (Trainer.create(options(tied_model, algorithm=algorithm)) for _ in range(3))

    expected = [straight.execute(step.share()).metrics["kl_coef"] for step in steps]
    for step in steps[:2]:
        stopped.execute(step.share())
    stopped.save(tmp_path / "checkpoint", step=2, lineage=0)
    resumed.load(tmp_path / "checkpoint")
    found = [resumed.execute(step.share()).metrics["kl_coef"] for step in steps[2:]]

    assert found == expected[2:]
    assert len(set(expected)) == 4
    assert np.array_equal(exported(resumed), exported(straight))
