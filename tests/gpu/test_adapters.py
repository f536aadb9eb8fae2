"""Adapters on a GPU: they train, merge and refer to their base as on a CPU."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numerics.trainer_builders import AStep, a_model, exported, last_gradient, options
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tetrad_learner.trainer.adapters import whole_tensor
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.export import gathered_weights
from tetrad_learner.trainer.options import AlgorithmOptions, ComputeDtype, LoraOptions, RowLayout
from tetrad_learner.trainer.policy import named_weights

pytestmark = pytest.mark.usefixtures("lone_gpu_rank")

GPU = {"device": "cuda", "row_layout": RowLayout.PACKED}
BF16 = {**GPU, "compute_dtype": ComputeDtype.BFLOAT16}
KL = AlgorithmOptions(use_kl_loss=True, kl_loss_coef=0.1)
LORA = LoraOptions(rank=4)


@pytest.fixture(params=["tied", "untied"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return a_model(tmp_path / "model", kind=request.param)


def a_trainer(model: Path, **changes: Any) -> Trainer:
    return Trainer.create(options(model, **{"algorithm": KL, "lora": LORA, "micro_train_batch_size": 5, **changes}))


def trained(model: Path, *, num_steps: int = 2, **changes: Any) -> Trainer:
    trainer = a_trainer(model, **changes)
    for seed in range(num_steps):
        trainer.execute(AStep(seed=seed, step=seed + 1).share())
    return trainer


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize("is_recomputed", [False, True])
def test_their_gradient_is_that_of_a_cpu(model: Path, *, is_recomputed: bool) -> None:
    on_cpu = last_gradient(trained(model))

    in_float32 = last_gradient(trained(model, **GPU, gradient_checkpointing=is_recomputed))
    in_bfloat16 = last_gradient(trained(model, **BF16, gradient_checkpointing=is_recomputed))

    np.testing.assert_allclose(in_float32, on_cpu, rtol=0, atol=1e-4 * np.abs(on_cpu).max())
    assert cosine(in_bfloat16, on_cpu) > 0.99


@pytest.mark.parametrize("is_recomputed", [False, True])
def test_steps_move_adapters_and_leave_their_base_alone(model: Path, *, is_recomputed: bool) -> None:
    stored = load_file(model / "model.safetensors")
    trainer = a_trainer(model, **BF16, gradient_checkpointing=is_recomputed)
    before = exported(trainer)

    found = [trainer.execute(AStep(seed=seed, step=seed + 1).share()).metrics for seed in range(2)]

    assert np.abs(exported(trainer) - before).max() > 1e-4
    for name, tensor in named_weights(trainer._policy):
        assert torch.equal(whole_tensor(tensor).cpu(), stored[name]), name
    assert (found[0]["kl_loss"], found[0]["ppo_kl"]) == (0.0, 0.0)
    assert found[1]["kl_loss"] > 0.0


@pytest.mark.parametrize("is_recomputed", [False, True])
def test_what_is_exported_is_the_base_with_the_correction_of_peft(
    model: Path, tmp_path: Path, *, is_recomputed: bool
) -> None:
    trainer = trained(model, num_steps=3, **BF16, gradient_checkpointing=is_recomputed)
    ours = {name: tensor.cpu().clone() for name, tensor in gathered_weights(trainer._policy)}
    trainer.save(tmp_path / "checkpoint", step=3, lineage=0)

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    wrapped = PeftModel.from_pretrained(base, str(tmp_path / "checkpoint" / "adapter"))
    theirs = dict(wrapped.merge_and_unload().state_dict())

    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(exported(trainer), np.concatenate([t.numpy().ravel() for t in ours.values()]))


@pytest.mark.parametrize("is_recomputed", [False, True])
def test_the_reference_is_what_a_second_model_would_say(model: Path, *, is_recomputed: bool) -> None:
    copy = Path(shutil.copytree(model, model.with_name("copy")))
    settings = {**BF16, "gradient_checkpointing": is_recomputed}
    inside, apart = trained(model, **settings), trained(model, **settings, reference_path=str(copy))

    here, there = (trainer.execute(AStep(seed=9, step=3).share()).metrics["kl_loss"] for trainer in (inside, apart))

    assert inside._reference.model is inside._policy
    assert apart._reference.model is not apart._policy
    assert here > 0.0
    assert here == pytest.approx(there, rel=1e-2)
