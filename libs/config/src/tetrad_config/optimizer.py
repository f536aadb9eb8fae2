"""Optimizer: AdamW and its learning-rate schedule."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tetrad_config.section import NonNegativeFloat, NonNegativeInt, PositiveFloat, Section

Beta = Annotated[float, Field(ge=0, lt=1)]


class Scheduler(StrEnum):
    """Learning-rate schedules, named as in transformers."""

    CONSTANT = "constant"
    CONSTANT_WITH_WARMUP = "constant_with_warmup"
    LINEAR = "linear"
    COSINE = "cosine"


class Optimizer(Section):
    """`optimizer_config`: one AdamW; its steps are counted in optimizer steps, not in training steps."""

    lr: NonNegativeFloat = 1e-6
    """Learning rate after the warm-up."""
    adam_betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.9, 0.999)
    """Decay of the first and the second moment."""
    weight_decay: NonNegativeFloat = 0.01
    """Decoupled weight decay."""
    max_grad_norm: PositiveFloat = 1.0
    """Gradients are scaled down to this global 2-norm."""
    offload_after_step: bool = True
    """Whether moments move to host memory after each step; matters only where engines share the GPU."""
    num_warmup_steps: NonNegativeInt = 0
    """Optimizer steps over which the learning rate rises from 0."""
    scheduler: Annotated[Scheduler, Field(strict=False)] = Scheduler.CONSTANT_WITH_WARMUP
    """Shape of the learning rate over the run."""


class CriticOptimizer(Optimizer):
    """`trainer.critic.optimizer_config`: as the policy's, with a larger learning rate."""

    lr: NonNegativeFloat = 5e-6
    """Learning rate after the warm-up."""


class Fsdp(Section):
    """`fsdp_config`: how parameters are sharded over ranks."""

    cpu_offload: bool = False
    """Whether shards live in host memory between uses."""
    reshard_after_forward: bool = True
    """Whether gathered parameters are freed between forward and backward."""
    fsdp_size: int = -1
    """Ranks of one shard group; -1 means all of them."""
