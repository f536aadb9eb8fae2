"""Four steps are two, a checkpoint, and two more, bit for bit, with everything that moves over a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numerics.trainer_builders import AStep, exported, options

from tetrad_learner.trainer.algorithm_options import AlgorithmOptions, KlRewardSettings
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.options import CriticOptions, LoraOptions, OptimizerOptions, ScheduleKind

pytestmark = pytest.mark.usefixtures("lone_rank")

FALLING = OptimizerOptions(lr=1e-2, schedule=ScheduleKind.COSINE, num_warmup_steps=2, num_training_steps=12)
STEPS = [AStep(seed=seed, step=seed + 1, num_mini_batches=2) for seed in range(4)]


def with_critic(model: Path) -> dict[str, Any]:
    """A critic with moments and schedule of its own, and a coefficient that is steered."""
    return {
        "critic": CriticOptions(path=str(model), mini_batch_prompts=3, optimizer=FALLING),
        "algorithm": AlgorithmOptions(
            advantage_estimator="gae",
            use_kl_in_reward=True,
            kl_loss_coef=0.1,
            kl_reward=KlRewardSettings(is_adaptive=True, target=0.01, horizon=50),
        ),
    }


def without(_model: Path) -> dict[str, Any]:
    return {}


def with_a_moving_reference(_model: Path) -> dict[str, Any]:
    """It moves before the third step and is then in no folder but the checkpoint."""
    return {"reference_interval": 2, "algorithm": AlgorithmOptions(use_kl_loss=True, kl_loss_coef=0.1)}


def with_adapters(model: Path) -> dict[str, Any]:
    """Chance decides what is dropped, and goes on where it was; a critic beside them has all its weights trained."""
    return {
        "lora": LoraOptions(rank=4, dropout=0.3),
        "critic": CriticOptions(path=str(model), mini_batch_prompts=3, optimizer=FALLING),
        "algorithm": AlgorithmOptions(advantage_estimator="gae", use_kl_loss=True, kl_loss_coef=0.1),
    }


@pytest.mark.parametrize("extras", [without, with_critic, with_a_moving_reference, with_adapters])
def test_two_steps_a_checkpoint_and_two_more_are_four(
    tied_model: Path, tmp_path: Path, extras: Callable[[Path], dict[str, Any]]
) -> None:
    settings = {"optimizer": FALLING, **extras(tied_model)}
    straight = Trainer.create(options(tied_model, **settings))
    expected = [straight.execute(step.share()).metrics for step in STEPS]
    stopped = Trainer.create(options(tied_model, **settings))
    for step in STEPS[:2]:
        stopped.execute(step.share())
    stopped.save(tmp_path, step=2, lineage=0)

    resumed = Trainer.create(options(tied_model, **settings))
    resumed.load(tmp_path)
    found = [resumed.execute(step.share()).metrics for step in STEPS[2:]]

    assert np.array_equal(exported(resumed), exported(straight))
    for before, after in zip(expected[2:], found, strict=True):
        assert {name: value for name, value in before.items() if not name.startswith("seconds_")} == {
            name: value for name, value in after.items() if not name.startswith("seconds_")
        }
