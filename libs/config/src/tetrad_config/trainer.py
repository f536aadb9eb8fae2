"""Trainer: the length of the run, its batches, its schedule of evaluation and checkpoints."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, JsonValue

from tetrad_config.algorithm import AdvantageEstimator, Algorithm
from tetrad_config.models import Critic, Policy, Ref
from tetrad_config.placement import Placement
from tetrad_config.section import (
    Count,
    FilePath,
    Interval,
    NonNegativeInt,
    PositiveFloat,
    Seconds,
    Section,
    null_means,
)


class Strategy(StrEnum):
    """How parameters are spread over ranks."""

    FSDP = "fsdp"
    FSDP2 = "fsdp2"
    MEGATRON = "megatron"


class ResumeMode(StrEnum):
    """What a run does with checkpoints that are already there."""

    NONE = "none"
    LATEST = "latest"
    FROM_PATH = "from_path"


class Logger(StrEnum):
    """Where metrics go."""

    CONSOLE = "console"
    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    MLFLOW = "mlflow"
    TRACKIO = "trackio"
    SWANLAB = "swanlab"


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Loggers = Annotated[tuple[Annotated[Logger, Field(strict=False)], ...], Field(strict=False), BeforeValidator(_listed)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+=@-]*$", max_length=128)]
"""A name that is safe as a folder: letters, digits and . _ + = @ -, not beginning with a sign."""


EvaluationMetric = Annotated[str, Field(pattern=r"^eval(_sampled)?/[^\s]+$")]
"""Name of a score in the metrics of an evaluation."""


class FullyAsync(Section):
    """`trainer.fully_async`: how far generation may run ahead of training."""

    max_staleness_steps: NonNegativeInt = 0
    """Training steps by which a sample may be behind the step that trains on it; 0 is the synchronous loop."""
    num_parallel_generation_workers: Count | None = None
    """Groups that may be generated at once; null leaves it to the staleness bound."""


class Trainer(Section):
    """`trainer`: the learner."""

    # ── parts ──
    placement: Placement = Field(default_factory=Placement)
    """Ranks and devices."""
    policy: Policy = Field(default_factory=Policy)
    """The model that is trained."""
    ref: Ref = Field(default_factory=Ref)
    """The frozen model of the KL penalty."""
    critic: Critic = Field(default_factory=Critic)
    """The value model of PPO."""
    algorithm: Algorithm = Field(default_factory=Algorithm)
    """Advantages, loss, divergence."""
    fully_async: FullyAsync = Field(default_factory=FullyAsync)
    """How far generation may run ahead of training."""

    # ── compute ──
    strategy: Annotated[Strategy, Field(strict=False)] = Strategy.FSDP2
    """How parameters are spread over ranks."""
    bf16: bool = True
    """Whether forward and backward compute in bfloat16; master weights and moments are float32 in any case."""
    gradient_checkpointing: bool = True
    """Whether activations are computed again in the backward pass instead of being kept."""
    gradient_checkpointing_use_reentrant: bool = False
    """Which of torch's two kinds of checkpointing is used."""
    flash_attn: bool = True
    """Whether torch's attention may use its flash kernel on a GPU; on a CPU it changes nothing."""
    use_sample_packing: bool = True
    """Whether samples are laid end to end without padding on a GPU; on a CPU padded rows are faster, and used."""
    disable_fast_tokenizer: bool = False
    """Whether the slow tokenizer is used."""
    rope_scaling: dict[str, JsonValue] | None = None
    """Rotary scaling that differs from the model's own."""
    rope_theta: PositiveFloat | None = None
    """Rotary base that differs from the model's own."""

    # ── length ──
    seed: NonNegativeInt = 42
    """Seeds the data order, every sampled token and torch."""
    epochs: NonNegativeInt = 1
    """Passes over the training prompts; 0 evaluates and trains nothing."""
    max_steps: Count | None = None
    """Training steps after which the run ends; null lets the epochs decide."""
    update_epochs_per_batch: Count = 1
    """Passes of the optimizer over each batch."""

    # ── batches ──
    train_batch_size: Count = 1024
    """Prompts per training step."""
    policy_mini_batch_size: Count = 256
    """Prompts per optimizer step of the policy."""
    critic_mini_batch_size: Count = 256
    """Prompts per optimizer step of the critic."""
    micro_train_batch_size_per_gpu: Count = 1
    """Samples of one forward and backward pass on a rank."""
    micro_forward_batch_size_per_gpu: Count = 1
    """Samples of one pass without gradient on a rank."""
    max_tokens_per_microbatch: Interval = -1
    """Tokens of one pass on a rank, in place of both micro-batch sizes; -1 is off."""
    max_prompt_length: Count = 512
    """Tokens; longer prompts are left out when the data is read, and counted."""
    update_ref_every_epoch: bool = False
    """Whether the reference becomes the policy at the end of an epoch."""

    # ── evaluation ──
    eval_batch_size: Count = 1024
    """Prompts of one evaluation batch; evaluation has no batches, so that it has no effect."""
    eval_before_train: bool = True
    """Whether the untrained policy is evaluated."""
    eval_interval: Interval = 5
    """Training steps between evaluations, the last step always among them; -1 is never."""
    eval_sampled_n: NonNegativeInt = 0
    """Samples per prompt of a second evaluation at the sampling parameters of training; 0 is off."""
    dump_eval_results: bool = False
    """Whether each evaluation's answers are written to `dumped_evals` in `export_path`."""

    # ── checkpoints ──
    ckpt_interval: Interval = 10
    """Training steps between checkpoints; the last step always writes one; -1 writes only that."""
    ckpt_path: FilePath = Path("outputs/test_run/checkpoints")
    """Folder of the checkpoints `global_step_N/`; null means `checkpoints` in the run's folder."""
    max_ckpts_to_keep: Interval = -1
    """Newest checkpoints that are kept; -1 keeps all."""
    best_ckpt_metric: EvaluationMetric | None = "eval/all/mean_reward"
    """Score of an evaluation by which the best checkpoint is known; it is kept beside the newest; null keeps none."""
    export_path: FilePath = Path("outputs/test_run/exports")
    """Folder of what is exported for people; null means `exports` in the run's folder."""
    resume_mode: Annotated[ResumeMode, Field(strict=False), null_means("none")] = ResumeMode.LATEST
    """Whether to start anew, from the latest checkpoint, or from `resume_path`."""
    resume_path: FilePath | None = None
    """Checkpoint folder `…/global_step_N` that `resume_mode=from_path` starts from."""

    # ── the run ──
    project_name: str = "tetrad"
    """Name under which loggers file the run."""
    run_name: Name = "test_run"
    """Name of the run and of its folder."""
    run_dir: FilePath = Path("outputs/test_run")
    """The run's folder; null means `outputs/<run_name>`."""
    overwrite: bool = False
    """Whether `resume_mode=none` may clear a run folder that exists already."""
    logger: Loggers = (Logger.CONSOLE, Logger.TENSORBOARD)
    """Where metrics go, any of them at once, besides the run's `metrics.jsonl`, which gets them always."""
    log_example_interval: Interval = 10
    """Training steps between tables of samples in the loggers that show tables, the first step included; -1: none."""
    stall_timeout: Seconds = 600.0
    """Seconds without a usable engine, or without any progress, after which the run saves and fails."""

    @property
    def has_critic(self) -> bool:
        """Whether a critic is trained: there is a model for it, and the estimator is `gae` or somebody else's."""
        estimator = self.algorithm.advantage_estimator
        asks = estimator is AdvantageEstimator.GAE or not isinstance(estimator, AdvantageEstimator)
        return asks and self.critic.model.path is not None
