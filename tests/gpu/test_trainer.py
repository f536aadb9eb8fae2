"""The trainer on a GPU computes what it computes on a CPU, in every memory and precision that is offered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numerics.trainer_builders import AStep, a_model, exported, last_gradient, options

from tetrad_learner.trainer.attention import PACKED_ATTENTION
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.options import AlgorithmOptions, ComputeDtype, RowLayout, ShardingOptions

pytestmark = pytest.mark.usefixtures("lone_gpu_rank")

GPU = {"device": "cuda", "row_layout": RowLayout.PACKED}
BF16 = {**GPU, "compute_dtype": ComputeDtype.BFLOAT16}
KL = AlgorithmOptions(use_kl_loss=True, kl_loss_coef=0.1, entropy_loss_coef=0.01)


def a_trainer(model: Path, **changes: Any) -> Trainer:
    return Trainer.create(options(model, algorithm=KL, micro_train_batch_size=5, **changes))


def gradient(model: Path, **changes: Any) -> np.ndarray:
    trainer = a_trainer(model, **changes)
    trainer.execute(AStep().share())
    return last_gradient(trainer)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_in_float32_the_gradient_is_that_of_a_cpu(gpu_model: Path) -> None:
    on_gpu, on_cpu = gradient(gpu_model, **GPU), gradient(gpu_model)

    np.testing.assert_allclose(on_gpu, on_cpu, rtol=0, atol=1e-4 * np.abs(on_cpu).max())


@pytest.mark.parametrize("kind", ["tied", "untied", "qwen3", "gemma", "gemma3"])
def test_the_kernel_in_bfloat16_points_where_float32_does(tmp_path: Path, kind: str) -> None:
    model = a_model(tmp_path, kind=kind)

    truth, packed = gradient(model), gradient(model, **BF16)
    padded = gradient(model, **{**BF16, "row_layout": RowLayout.PADDED})

    assert cosine(packed, truth) > 0.995
    # As far from the truth as padded rows are, give or take.
    assert 1 - cosine(packed, truth) < 2 * (1 - cosine(padded, truth)) + 1e-4


def test_the_ratio_of_the_first_step_is_one(gpu_model: Path) -> None:
    trainer = a_trainer(gpu_model, **BF16)

    metrics = trainer.execute(AStep(num_mini_batches=1).share()).metrics

    assert trainer._policy.causal_lm.config._attn_implementation == PACKED_ATTENTION
    assert (metrics["ppo_kl"], metrics["clip_ratio"]) == (0.0, 0.0)
    assert metrics["kl_loss"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("changes", [{"cpu_offload": True}, {"reshard_after_forward": False}], ids=str)
def test_where_shards_live_changes_nothing(gpu_model: Path, changes: dict[str, bool]) -> None:
    sharding = ShardingOptions(**changes)
    plain, other = (
        a_trainer(gpu_model, **BF16),
        a_trainer(gpu_model, **BF16, sharding=sharding, reference_sharding=sharding),
    )

    for seed in range(2):
        step = AStep(seed=seed, step=seed + 1)
        for trainer in (plain, other):
            trainer.execute(step.share())

    np.testing.assert_allclose(exported(other), exported(plain), rtol=0, atol=1e-6)
    places = {parameter.to_local().device.type for parameter in other._policy.parameters()}
    assert places == {"cpu" if sharding.cpu_offload else "cuda"}


def test_compiled_layers_and_head_point_the_same_way(gpu_model: Path) -> None:
    assert cosine(gradient(gpu_model, **BF16, use_torch_compile=True), gradient(gpu_model, **BF16)) > 0.999


@pytest.mark.parametrize("offload", [False, True])
def test_two_steps_a_checkpoint_and_two_more_are_four(gpu_model: Path, tmp_path: Path, *, offload: bool) -> None:
    settings = {**BF16, "sharding": ShardingOptions(cpu_offload=offload)}
    steps = [AStep(seed=seed, step=seed + 1) for seed in range(4)]
    straight, stopped = a_trainer(gpu_model, **settings), a_trainer(gpu_model, **settings)
    for step in steps:
        straight.execute(step.share())
    for step in steps[:2]:
        stopped.execute(step.share())
    stopped.save(tmp_path, step=2, lineage=0)

    resumed = a_trainer(gpu_model, **settings)
    resumed.load(tmp_path)
    for step in steps[2:]:
        resumed.execute(step.share())

    np.testing.assert_allclose(exported(resumed), exported(straight), rtol=0, atol=1e-6)
    torch.cuda.synchronize()


@pytest.mark.parametrize("changes", [{}, {"cpu_offload": True}, {"reshard_after_forward": False}], ids=str)
def test_a_journey_to_the_host_frees_the_gpu_and_changes_nothing(gpu_model: Path, changes: dict[str, bool]) -> None:
    sharding = ShardingOptions(**changes)
    settings = {**BF16, "sharding": sharding, "reference_sharding": sharding}
    staying, going = a_trainer(gpu_model, **settings), a_trainer(gpu_model, **settings)

    for seed in range(3):
        for trainer in (staying, going):
            trainer.execute(AStep(seed=seed, step=seed + 1).share())
        before = torch.cuda.memory_allocated()
        num_bytes = going.offload()
        freed = before - torch.cuda.memory_allocated()
        assert going.offload() == 0
        assert going.load_back() == num_bytes

        # Allocations are rounded up; what was gathered for a pass without a backward one goes as well.
        assert freed >= num_bytes

    np.testing.assert_array_equal(exported(going), exported(staying))


def test_on_the_host_nothing_is_computed(gpu_model: Path) -> None:
    trainer = a_trainer(gpu_model, **BF16)
    trainer.offload()

    with pytest.raises(RuntimeError, match="load_back"):
        trainer.execute(AStep().share())
    trainer.load_back()
    trainer.execute(AStep().share())
