"""Models: policy, critic and reference; where their weights come from and how they are trained."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from tetrad_config.optimizer import CriticOptimizer, Fsdp, Optimizer
from tetrad_config.section import Count, FileOrHubName, NonNegativeInt, Options, PositiveFloat, Section, Texts

ALL_LINEAR: Final = "all-linear"
"""Every linear layer but the output layer."""


class Lora(Section):
    """`model.lora`: low-rank adapters."""

    rank: NonNegativeInt = 0
    """Rank of the adapters; 0 trains all weights."""
    alpha: PositiveFloat = 16.0
    """Adapters are scaled by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of adapter inputs dropped where gradients are computed; log-probs of old and reference drop nothing."""
    target_modules: Texts = (ALL_LINEAR,)
    """Names of the layers that get adapters (`q_proj`), or `all-linear`: all but the output layer."""
    exclude_modules: Texts = ()
    """Names of layers that get none."""
    init_method: str = "kaiming"
    """How the first factor of an adapter is drawn (peft's `init_lora_weights`), kaiming | gaussian; the second is 0."""


class PolicyModel(Section):
    """`trainer.policy.model`: the weights to start from."""

    path: FileOrHubName = "Qwen/Qwen2.5-1.5B-Instruct"
    """Hugging Face folder or Hub name of the model that is trained."""
    lora: Lora = Field(default_factory=Lora)
    """Adapters instead of all weights."""


class CriticModel(Section):
    """`trainer.critic.model`: the weights of the value model."""

    path: FileOrHubName | None = None
    """Hugging Face folder or Hub name of the critic; null means no critic."""
    lora: Lora = Field(default_factory=Lora)
    """Adapters instead of all weights."""


class RefModel(Section):
    """`trainer.ref.model`: the weights that the KL penalty pulls to."""

    path: FileOrHubName = "Qwen/Qwen2.5-1.5B-Instruct"
    """Hugging Face folder or Hub name of the reference; null means the policy's."""


class Policy(Section):
    """`trainer.policy`: the model that is trained."""

    model: PolicyModel = Field(default_factory=PolicyModel)
    """Where its weights come from."""
    optimizer_config: Optimizer = Field(default_factory=Optimizer)
    """How it is stepped."""
    fsdp_config: Fsdp = Field(default_factory=Fsdp)
    """How it is sharded."""
    sequence_parallel_size: Count = 1
    """Ranks that share one sequence."""
    use_torch_compile: bool = False
    """Whether decoder layers, and what the log-prob head does to logits, are compiled (also the reference's)."""
    fp32_lm_head: bool = False
    """Whether embedding and head stay in float32 and logits are computed in it, whatever the layers compute in."""
    record_memory: bool = False
    """Whether memory snapshots are written."""
    model_config_kwargs: Options = Field(default_factory=dict)
    """Overrides of the Hugging Face model configuration."""


class Critic(Section):
    """`trainer.critic`: the value model of PPO."""

    model: CriticModel = Field(default_factory=CriticModel)
    """Where its weights come from."""
    optimizer_config: CriticOptimizer = Field(default_factory=CriticOptimizer)
    """How it is stepped."""
    fsdp_config: Fsdp = Field(default_factory=Fsdp)
    """How it is sharded."""
    sequence_parallel_size: Count = 1
    """Ranks that share one sequence."""
    model_config_kwargs: Options = Field(default_factory=dict)
    """Overrides of the Hugging Face model configuration."""


class Ref(Section):
    """`trainer.ref`: the frozen model of the KL penalty."""

    model: RefModel = Field(default_factory=RefModel)
    """Where its weights come from."""
    fsdp_config: Fsdp = Field(default_factory=Fsdp)
    """How it is sharded."""
    sequence_parallel_size: Count = 1
    """Ranks that share one sequence."""
    model_config_kwargs: Options = Field(default_factory=dict)
    """Overrides of the Hugging Face model configuration."""
