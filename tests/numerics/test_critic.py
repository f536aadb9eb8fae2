"""The critic: its values, its gradient against a textbook loop, and its place in the order and in checkpoints."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numerics.trainer_builders import PLAIN, AStep, exported, options
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tetrad_learner.trainer.algorithm_options import AlgorithmOptions
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.errors import CheckpointError, NonFiniteError, UnsupportedModelError
from tetrad_learner.trainer.options import ComputeDtype, CriticOptions, OptimizerOptions
from tetrad_learner.trainer.progress import Phase

pytestmark = pytest.mark.usefixtures("lone_rank")

GAE = AlgorithmOptions(advantage_estimator="gae", gamma=0.9, lambd=0.8)


def a_trainer(model: Path, *, critic: Path | None = None, algorithm: AlgorithmOptions = GAE, **changes) -> Trainer:
    settings = {"optimizer": PLAIN, "mini_batch_prompts": 99}
    chosen = CriticOptions(path=str(critic or model), **(settings | changes))
    return Trainer.create(options(model, algorithm=algorithm, critic=chosen))


def tensors(trainer: Trainer, prefix: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): tensor.full_tensor().numpy().copy()
        for name, tensor in trainer._tensors().items()
        if name.startswith(prefix)
    }


def test_the_critics_gradient_is_that_of_the_textbook_loop(model: Path) -> None:
    step, trainer = AStep(), a_trainer(model)
    head = torch.from_numpy(tensors(trainer, "critic.")["value_head.weight"])

    metrics = trainer.execute(step.share()).metrics

    gradients, loss, values = textbook(model, head, step)
    found = tensors(trainer, "critic_optimizer.exp_avg.")
    assert gradients.keys() == found.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(found[name], gradient, rtol=0, atol=1e-6, err_msg=name)
    assert metrics["critic_loss"] == pytest.approx(loss, abs=1e-6)
    assert metrics["values_mean"] == pytest.approx(values.mean(), abs=1e-6)
    assert metrics["values_clipfrac"] == 0.0
    assert metrics["critic_grad_norm"] == pytest.approx(
        np.sqrt(sum(float((g**2).sum()) for g in gradients.values())), rel=1e-5
    )


def textbook(folder: Path, head: torch.Tensor, step: AStep) -> tuple[dict[str, np.ndarray], float, np.ndarray]:
    """Half the squared distance to γλ-returns, averaged over tokens and then samples, from the model's own states."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    head = head.clone().requires_grad_()
    total, seen = torch.zeros(()), []
    for sample, reward in zip(step.samples, step.rewards, strict=True):
        ids = torch.from_numpy(sample["token_ids"]).long()
        hidden = model.base_model(input_ids=ids[None]).last_hidden_state[0]
        places = np.flatnonzero(sample["loss_mask"])
        values = (hidden[places - 1] @ head.T)[:, 0]
        old = values.detach().double().numpy()
        targets, advantage = np.zeros(len(old)), 0.0
        for t in reversed(range(len(old))):
            is_last = t == len(old) - 1
            surprise = (reward if is_last else 0.9 * old[t + 1]) - old[t]
            advantage = surprise + 0.9 * 0.8 * advantage
            targets[t] = advantage + old[t]
        total = total + 0.5 * (values - torch.from_numpy(targets).float()).square().mean() / step.num_samples
        seen.append(old)
    total.backward()
    gradients = {f"model.{name}": p.grad.numpy() for name, p in model.base_model.named_parameters()}
    return gradients | {"value_head.weight": head.grad.numpy()}, float(total.detach()), np.concatenate(seen)


def test_the_critic_moves_before_the_policy_and_the_policy_goes_by_the_old_values(tied_model: Path) -> None:
    """A critic that learns nothing and one that learns a lot give the policy the same first update."""
    phases: list[Phase] = []
    still = a_trainer(tied_model, optimizer=OptimizerOptions(lr=0.0))
    quick = a_trainer(tied_model, optimizer=OptimizerOptions(lr=0.1))

    still.execute(AStep().share())
    quick.execute(AStep().share(), on_progress=lambda progress: phases.append(progress.phase))

    assert np.array_equal(exported(still), exported(quick))
    assert list(dict.fromkeys(phases)) == [Phase.VALUES, Phase.CRITIC_FORWARD_BACKWARD, Phase.FORWARD_BACKWARD]


def test_the_critic_learns_what_its_returns_are(tied_model: Path) -> None:
    trainer = a_trainer(tied_model, optimizer=OptimizerOptions(lr=1e-2), value_clip=1e9)

    seen = [trainer.execute(AStep(step=step).share()).metrics for step in range(1, 13)]

    assert seen[-1]["critic_loss"] < 0.2 * seen[0]["critic_loss"]
    assert seen[-1]["explained_variance"] > 0.5 > seen[0]["explained_variance"]


def test_the_critic_has_mini_batches_of_its_own(tied_model: Path) -> None:
    one_by_one = a_trainer(tied_model, mini_batch_prompts=1)

    metrics = one_by_one.execute(AStep(num_groups=3, update_epochs=2).share()).metrics

    assert metrics["critic_optimizer_steps"] == 6
    assert metrics["optimizer_steps"] == 2


def test_a_head_of_the_folder_is_taken_by_its_name(tied_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tied_model, tmp_path / "critic")
    stored = torch.arange(32, dtype=torch.float32)[None] / 32
    save_file({"score.weight": stored}, folder / "head.safetensors", metadata={"format": "pt"})

    named = a_trainer(tied_model, critic=folder, head_name="score")
    other = a_trainer(tied_model, critic=folder)

    assert np.array_equal(tensors(named, "critic.")["score.weight"], stored.numpy())
    assert np.abs(tensors(other, "critic.")["value_head.weight"]).max() < 0.2


def test_a_head_of_another_shape_is_refused(tied_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tied_model, tmp_path / "critic")
    save_file({"score.weight": torch.zeros(2, 32)}, folder / "head.safetensors", metadata={"format": "pt"})

    with pytest.raises(UnsupportedModelError, match=r"score.weight in .* is \(2, 32\); a value head is \(1, 32\)"):
        a_trainer(tied_model, critic=folder, head_name="score")


def test_a_drawn_head_is_the_same_in_every_run_of_a_seed(tied_model: Path) -> None:
    first, second = (tensors(a_trainer(tied_model), "critic.")["value_head.weight"] for _ in range(2))

    assert np.array_equal(first, second)
    assert first.any()


@pytest.mark.parametrize("algorithm", [GAE, dataclasses.replace(GAE, use_kl_loss=True)])
def test_resuming_with_a_critic_equals_never_having_stopped(
    tied_model: Path, tmp_path: Path, algorithm: AlgorithmOptions
) -> None:
    warm = OptimizerOptions(lr=1e-2, num_warmup_steps=5)
    straight = a_trainer(tied_model, algorithm=algorithm, optimizer=warm, mini_batch_prompts=1)
    straight.execute(AStep(seed=1).share())
    straight.save(tmp_path / "checkpoint", step=1, lineage=0)

    resumed = a_trainer(tied_model, algorithm=algorithm, optimizer=warm, mini_batch_prompts=1)
    resumed.load(tmp_path / "checkpoint")
    metrics = [trainer.execute(AStep(seed=2, step=2).share()).metrics for trainer in (straight, resumed)]

    mine, theirs = (tensors(trainer, "") for trainer in (straight, resumed))
    assert all(np.array_equal(mine[name], theirs[name]) for name in mine)
    assert metrics[0]["critic_lr"] == metrics[1]["critic_lr"] == pytest.approx(1e-2)


def test_a_checkpoint_without_a_critic_is_refused_by_a_run_that_has_one(tied_model: Path, tmp_path: Path) -> None:
    Trainer.create(options(tied_model)).save(tmp_path / "checkpoint", step=1, lineage=0)
    trainer = a_trainer(tied_model)

    with pytest.raises(CheckpointError, match=r"critic\.model\..* is \(.*\) in this model and None in"):
        trainer.load(tmp_path / "checkpoint")


def test_a_value_that_is_not_finite_poisons_the_step_and_leaves_both_models(tied_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tied_model, tmp_path / "critic")
    weights = load_file(folder / "model.safetensors")
    head = torch.full((1, 32), 1e30)
    save_file(weights | {"value_head.weight": head}, folder / "model.safetensors", metadata={"format": "pt"})
    trainer = a_trainer(tied_model, critic=folder)
    before = exported(trainer)

    with pytest.raises(NonFiniteError, match="critic loss is inf in step 1, mini-batch 0"):
        trainer.execute(AStep().share())

    assert np.array_equal(exported(trainer), before)


def test_bfloat16_keeps_the_critics_masters_and_head_in_float32(tied_model: Path) -> None:
    chosen = CriticOptions(path=str(tied_model), optimizer=PLAIN)
    coarse = Trainer.create(options(tied_model, algorithm=GAE, critic=chosen, compute_dtype=ComputeDtype.BFLOAT16))

    metrics = coarse.execute(AStep().share()).metrics

    exact = a_trainer(tied_model).execute(AStep().share()).metrics
    assert {tensor.dtype for tensor in coarse._tensors().values()} == {torch.float32}
    assert metrics["critic_loss"] == pytest.approx(exact["critic_loss"], rel=0.05)


def test_an_estimator_without_returns_leaves_a_critic_nothing_to_learn(tied_model: Path) -> None:
    with pytest.raises(ValueError, match="advantage_estimator 'rloo' gives a critic no returns; leave the critic out"):
        a_trainer(tied_model, algorithm=AlgorithmOptions(advantage_estimator="rloo")).execute(AStep().share())
