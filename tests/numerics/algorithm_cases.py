"""Algorithms that stand for all of them where a test is too dear for each: what they compute depends on other things.

Groups (grpo), the critic (gae), whole sequences (gspo), all tokens of a mini-batch (clip_cov), ratios and masks
(corrected), whole samples and the whole batch (reinforce++), adapters and the base below them (lora).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numerics.trainer_builders import PLAIN, AStep, options
from numpy.typing import NDArray

from tetrad_learner.trainer.algorithm_options import (
    AlgorithmOptions,
    CorrectionSettings,
    KlRewardSettings,
    RatioLevel,
    SequenceMask,
)
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.options import CriticOptions, LoraOptions, TrainerOptions

CASES: Final = {
    "grpo": AlgorithmOptions(use_kl_loss=True, kl_loss_coef=0.1, zero_variance_filter=True),
    "gae": AlgorithmOptions(advantage_estimator="gae", gamma=0.95, lambd=0.9, loss_reduction="prompt_mean"),
    "gspo": AlgorithmOptions(policy_loss_type="gspo", loss_reduction="sequence_mean", entropy_loss_coef=0.01),
    "clip_cov": AlgorithmOptions(
        policy_loss_type="clip_cov", clip_cov_ratio=0.3, clip_cov_lb=-9.0, clip_cov_ub=9.0, advantage_estimator="rloo"
    ),
    "corrected": AlgorithmOptions(
        correction=CorrectionSettings(
            level=RatioLevel.TOKEN,
            token_clip_high=0.3,
            token_mask_low=0.02,
            token_mask_high=20.0,
            sequence_mask=SequenceMask.GEOMETRIC,
            geo_mask_low=0.05,
            geo_mask_high=1.0,
        ),
        advantage_batch_normalize=True,
    ),
    "reinforce++": AlgorithmOptions(
        advantage_estimator="reinforce++",
        gamma=0.9,
        use_kl_in_reward=True,
        kl_loss_coef=0.1,
        kl_reward=KlRewardSettings(is_adaptive=True, target=0.05, horizon=50),
    ),
    "lora": AlgorithmOptions(use_kl_loss=True, kl_loss_coef=0.1),
}
# Three rows are no whole number for each of two ranks.
LORA: Final = LoraOptions(rank=3, exclude_modules=("k_proj",))
# Several optimizer steps of groups of which one is flat.
STEPS: Final = tuple(
    AStep(num_groups=3, group_size=3, num_mini_batches=2, seed=seed, step=number)
    for number, seed in enumerate((1, 4), start=1)
)


def case_options(name: str, *, model: Path, reference: Path, **changes: Any) -> TrainerOptions:
    """Trainer options of a case; the critic, where there is one, takes a prompt at a time.

    Adapters have no reference but their base.
    """
    if name == "lora":
        return options(model, algorithm=CASES[name], lora=LORA, **changes)
    critic = CriticOptions(path=str(model), mini_batch_prompts=1, optimizer=PLAIN) if name == "gae" else None
    return options(model, algorithm=CASES[name], reference_path=str(reference), critic=critic, **changes)


def executed(trainer: Trainer, *, rank: int = 0, world_size: int = 1) -> dict[str, float]:
    """Train on STEPS; return the metrics of the last that do not depend on time or cut; collective."""
    metrics: dict[str, float] = {}
    for step in STEPS:
        metrics = trainer.execute(step.share(rank=rank, world_size=world_size)).metrics
    return {name: value for name, value in metrics.items() if not name.startswith(("seconds_", "micro_batches"))}


def all_weights(trainer: Trainer) -> NDArray[np.float32]:
    """Weights of policy and critic end to end, as a checkpoint would hold them; collective."""
    tensors = trainer._tensors()
    names = sorted(name for name in tensors if "optimizer" not in name)
    return np.concatenate([tensors[name].full_tensor().numpy().ravel() for name in names])
