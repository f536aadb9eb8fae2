"""From the run's configuration to the trainer's plain options."""

from tetrad_config import RunConfig
from tetrad_learner.trainer.options import (
    AlgorithmOptions,
    ComputeDtype,
    OptimizerOptions,
    RowLayout,
    ScheduleKind,
    TrainerOptions,
)


def trainer_options(config: RunConfig, *, device: str, num_steps: int) -> TrainerOptions:
    """What a rank needs to know of a run of `num_steps` training steps, with the compute type that suits the device."""
    trainer = config.trainer
    is_gpu = device != "cpu"
    has_budget = trainer.max_tokens_per_microbatch > 0
    return TrainerOptions(
        model_path=trainer.policy.model.path,
        reference_path=trainer.ref.model.path,
        device=device,
        # bf16 on a CPU without its instructions is an order of magnitude slower.
        compute_dtype=ComputeDtype.BFLOAT16 if is_gpu and trainer.bf16 else ComputeDtype.FLOAT32,
        gradient_checkpointing=trainer.gradient_checkpointing,
        row_layout=RowLayout.PACKED if is_gpu and trainer.use_sample_packing else RowLayout.PADDED,
        # With a token budget the number of samples is no limit.
        micro_train_batch_size=1 << 20 if has_budget else trainer.micro_train_batch_size_per_gpu,
        micro_forward_batch_size=None if has_budget else trainer.micro_forward_batch_size_per_gpu,
        max_tokens_per_micro_batch=trainer.max_tokens_per_microbatch if has_budget else None,
        seed=trainer.seed,
        optimizer=_optimizer(config, num_steps),
        algorithm=_algorithm(config),
    )


def _optimizer(config: RunConfig, num_steps: int) -> OptimizerOptions:
    trainer, optimizer = config.trainer, config.trainer.policy.optimizer_config
    per_step = trainer.train_batch_size // trainer.policy_mini_batch_size * trainer.update_epochs_per_batch
    return OptimizerOptions(
        lr=optimizer.lr,
        betas=optimizer.adam_betas,
        weight_decay=optimizer.weight_decay,
        max_grad_norm=optimizer.max_grad_norm,
        schedule=ScheduleKind(optimizer.scheduler.value),
        num_warmup_steps=optimizer.num_warmup_steps,
        num_training_steps=num_steps * per_step,
    )


def _algorithm(config: RunConfig) -> AlgorithmOptions:
    algorithm = config.trainer.algorithm
    return AlgorithmOptions(
        advantage_estimator=algorithm.advantage_estimator.value,
        grpo_std=algorithm.grpo_std.value if algorithm.grpo_norm_by_std else "none",
        grpo_std_epsilon=algorithm.grpo_std_epsilon,
        policy_loss_type=algorithm.policy_loss_type.value,
        loss_reduction=algorithm.loss_reduction.value,
        eps_clip_low=algorithm.eps_clip_low,
        eps_clip_high=algorithm.eps_clip_high,
        use_kl_loss=algorithm.use_kl_loss,
        kl_loss_coef=algorithm.kl_loss_coef,
        kl_estimator_type=algorithm.kl_estimator_type.value,
        entropy_loss_coef=algorithm.entropy_loss_coef if algorithm.use_entropy_loss else 0.0,
        temperature=config.generator.sampling_params.temperature or 1.0,
        max_sequence_tokens=max(algorithm.max_seq_len, 0),
    )
