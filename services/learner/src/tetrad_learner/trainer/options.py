"""Settings of a trainer rank: plain values, read once; no torch, no run file."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from tetrad_learner.trainer.algorithm_options import AlgorithmOptions

ALL_LINEAR: Final = "all-linear"
"""What peft calls every linear layer but the output layer."""


class RowLayout(StrEnum):
    """How the samples of a micro-batch become rows."""

    PADDED = "padded"
    """A row per sample, sorted by length and padded on the right: needs no attention mask; fastest on a CPU."""
    PACKED = "packed"
    """One row, samples end to end, positions reset: no padding, and attention within each sample."""


class ScheduleKind(StrEnum):
    """Shape of the learning rate over optimizer steps; names as in transformers."""

    CONSTANT = "constant"
    CONSTANT_WITH_WARMUP = "constant_with_warmup"
    LINEAR = "linear"
    COSINE = "cosine"


class ComputeDtype(StrEnum):
    """In what the forward and backward pass run; master weights, reduction and optimizer are always float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerOptions:
    """AdamW, its schedule and the gradient clip."""

    lr: float = 1e-6
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    """Global norm to which gradients are scaled down; 0 clips nothing."""
    schedule: ScheduleKind = ScheduleKind.CONSTANT_WITH_WARMUP
    num_warmup_steps: int = 0
    """Optimizer steps."""
    num_training_steps: int = 0
    """Optimizer steps of the whole run; linear and cosine end there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardingOptions:
    """Where the shards of a model live, and how long gathered parameters do."""

    cpu_offload: bool = False
    """Whether shards, gradients and moments live in the host's memory and AdamW runs there; only on a GPU."""
    reshard_after_forward: bool = True
    """Whether a layer's gathered parameters are freed until its backward pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticOptions:
    """The value model of GAE."""

    path: str
    """Hugging Face folder, or a name on the Hub, of the model whose body it starts from."""
    head_name: str = "value_head"
    """Name of its output layer: in the checkpoint, and in the folder where that holds one."""
    mini_batch_prompts: int = 256
    """Prompts per optimizer step."""
    value_clip: float = 0.2
    """How far a value may move away from the one before the update, in the loss."""
    optimizer: OptimizerOptions = field(default_factory=lambda: OptimizerOptions(lr=5e-6))
    sharding: ShardingOptions = field(default_factory=ShardingOptions)


class LoraInit(StrEnum):
    """How the first factor is drawn; the second is zero, so that training begins with the model as it is."""

    KAIMING = "kaiming"
    GAUSSIAN = "gaussian"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraOptions:
    """Low-rank adapters that are trained in place of the weights."""

    rank: int
    alpha: float = 16.0
    """Adapters are scaled by alpha / rank."""
    dropout: float = 0.0
    """Share of an adapter's inputs that is dropped where gradients are computed, and nowhere else."""
    target_modules: tuple[str, ...] = (ALL_LINEAR,)
    """Names of the layers that get one, or the ends of their paths; `all-linear` is all but the output layer."""
    exclude_modules: tuple[str, ...] = ()
    """Likewise, of those that get none."""
    init_method: LoraInit = LoraInit.KAIMING


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerOptions:
    """All that a rank needs to know beside its batches."""

    model_path: str
    """Hugging Face folder, or a name on the Hub."""
    reference_path: str | None = None
    """Model that the divergence is measured from; None is the initial policy."""
    reference_interval: int = 0
    """Training steps after which it becomes the policy of that moment, again and again; 0 is never."""
    device: str = "cpu"
    """cpu | cuda."""
    compute_dtype: ComputeDtype = ComputeDtype.FLOAT32
    fp32_lm_head: bool = False
    """Whether embedding and head are gathered, and logits computed, in float32 whatever the layers compute in."""
    gradient_checkpointing: bool = False
    use_torch_compile: bool = False
    """Whether decoder layers, and what is done to logits, are compiled."""
    sharding: ShardingOptions = field(default_factory=ShardingOptions)
    reference_sharding: ShardingOptions = field(default_factory=ShardingOptions)
    row_layout: RowLayout = RowLayout.PADDED
    micro_train_batch_size: int = 8
    """Most samples of a micro-batch."""
    micro_forward_batch_size: int | None = None
    """Most samples of a forward pass without gradient; None is micro_train_batch_size, and then the ratio of the
    first optimizer step is exactly 1."""
    max_tokens_per_micro_batch: int | None = None
    """Most positions (padding included) of a micro-batch; a longer sample goes alone."""
    seed: int = 42
    collective_timeout_s: float = 600.0
    """A rank that waits longer for the others gives up."""
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    algorithm: AlgorithmOptions = field(default_factory=AlgorithmOptions)
    critic: CriticOptions | None = None
    """None where the estimator needs no values."""
    lora: LoraOptions | None = None
    """None trains all weights."""

    @property
    def reference(self) -> str:
        """Where the reference model is loaded from."""
        return self.reference_path or self.model_path

    @property
    def is_reference_inside(self) -> bool:
        """Whether the reference is the trained model with its adapters off, so that no second one is loaded."""
        return self.lora is not None and expand(self.reference) == expand(self.model_path)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPosition:
    """Where in the run a checkpoint stands."""

    step: int
    """Training steps executed."""
    lineage: int
    """Lineage that executed the last of them."""
    optimizer_steps: int
    """Optimizer steps taken; the schedule continues from here."""
    numbers: dict[str, float] = field(default_factory=dict)
    """What else must go on where it was, by name: a controller's coefficient, a second optimizer's steps."""


def expand(path: str) -> Path:
    """Return the path with `~` resolved."""
    return Path(path).expanduser()
