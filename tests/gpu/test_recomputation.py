"""Layers that are compiled, recomputed, or both, compute on a GPU what plain ones do, and keep less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numerics.trainer_builders import AStep, a_model, exported, last_gradient, options

from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.options import AlgorithmOptions, ComputeDtype, LoraOptions, RowLayout, ShardingOptions

pytestmark = pytest.mark.usefixtures("lone_gpu_rank", "fresh_compiler")

GPU = {"device": "cuda", "row_layout": RowLayout.PACKED, "micro_train_batch_size": 5}
BF16 = {**GPU, "compute_dtype": ComputeDtype.BFLOAT16}
BOTH = {"use_torch_compile": True, "gradient_checkpointing": True}
KL = AlgorithmOptions(use_kl_loss=True, kl_loss_coef=0.1, entropy_loss_coef=0.01)
# Llama and Qwen2: without and with biases, tied and untied.
KINDS = ("tied", "untied")


@pytest.fixture
def fresh_compiler() -> None:
    """What an earlier test had compiled must not count against the limit of versions of a function."""
    torch.compiler.reset()


def trained(model: Path, *, num_steps: int = 2, **changes: Any) -> Trainer:
    """Trained on rows of different lengths, within a step and from step to step."""
    trainer = Trainer.create(options(model, **{"algorithm": KL, **changes}))
    for seed in range(num_steps):
        trainer.execute(AStep(seed=seed, step=seed + 1).share())
    return trainer


def gradient(model: Path, **changes: Any) -> np.ndarray:
    return last_gradient(trained(model, **changes))


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize("kind", KINDS)
def test_recomputed_layers_give_the_gradient_of_plain_ones(tmp_path: Path, kind: str) -> None:
    model = a_model(tmp_path, kind=kind)

    plain, recomputed = gradient(model, **BF16), gradient(model, **BF16, gradient_checkpointing=True)

    assert cosine(recomputed, plain) > 0.9999


@pytest.mark.parametrize("layout", RowLayout)
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_layers_that_are_recomputed_point_where_plain_ones_do(
    tmp_path: Path, kind: str, layout: RowLayout
) -> None:
    model, settings = a_model(tmp_path, kind=kind), {**BF16, "row_layout": layout}

    plain, both = gradient(model, **settings), gradient(model, **settings, **BOTH)

    assert cosine(both, plain) > 0.999


@pytest.mark.parametrize("layout", RowLayout)
@pytest.mark.parametrize("kind", KINDS)
def test_in_float32_they_give_the_same_gradient(tmp_path: Path, kind: str, layout: RowLayout) -> None:
    model, settings = a_model(tmp_path, kind=kind), {**GPU, "row_layout": layout}

    plain, both = gradient(model, num_steps=1, **settings), gradient(model, num_steps=1, **settings, **BOTH)

    np.testing.assert_allclose(both, plain, rtol=0, atol=1e-4 * np.abs(plain).max())


@pytest.mark.parametrize(
    "changes",
    [
        {"fp32_lm_head": True},
        {"sharding": ShardingOptions(reshard_after_forward=False)},
        {"sharding": ShardingOptions(cpu_offload=True)},
        {"lora": LoraOptions(rank=4)},
    ],
    ids=["fp32_lm_head", "kept gathered", "offloaded", "adapters"],
)
@pytest.mark.parametrize("is_compiled", [False, True], ids=["eager", "compiled"])
def test_recomputation_goes_with_everything_else(
    gpu_model: Path, changes: dict[str, Any], *, is_compiled: bool
) -> None:
    before = exported(Trainer.create(options(gpu_model, **GPU)))
    recomputation = {"gradient_checkpointing": True, "use_torch_compile": is_compiled}

    plain, recomputed = (exported(trained(gpu_model, **BF16, **changes, **more)) for more in ({}, recomputation))

    assert cosine(recomputed - before, plain - before) > 0.99


@pytest.mark.parametrize("is_compiled", [False, True], ids=["eager", "compiled"])
def test_recomputed_layers_need_less_memory(tmp_path: Path, *, is_compiled: bool) -> None:
    model = a_model(tmp_path, layers=16)

    every, few = (
        activation_bytes(model, use_torch_compile=is_compiled, gradient_checkpointing=on) for on in (False, True)
    )

    assert few < 0.7 * every


def activation_bytes(model: Path, **changes: Any) -> int:
    """What the second step takes at its peak beyond what was there before it: a row of some thousand tokens."""
    trainer = Trainer.create(options(model, **{**BF16, "micro_train_batch_size": 256, **changes}))
    step = AStep(num_groups=32, group_size=8, longest=60)
    trainer.execute(step.share())
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    trainer.execute(step.share())
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
