"""From the run's configuration to the algorithm's plain options: advantages, losses, divergence, correction, critic."""

from tetrad_config import RunConfig
from tetrad_config.algorithm import Algorithm, KlController
from tetrad_config.optimizer import Fsdp, Optimizer
from tetrad_learner.trainer.algorithm_options import (
    AlgorithmOptions,
    CorrectionSettings,
    KlRewardSettings,
    RatioLevel,
    SequenceMask,
)
from tetrad_learner.trainer.options import CriticOptions, OptimizerOptions, ScheduleKind, ShardingOptions


def algorithm_options(config: RunConfig) -> AlgorithmOptions:
    """What the loss of a run is made of."""
    algorithm = config.trainer.algorithm
    return AlgorithmOptions(
        zero_variance_filter=algorithm.zero_variance_filter,
        use_rollout_logprobs_as_old=algorithm.use_rollout_logprobs_as_old,
        correction=_correction(algorithm),
        advantage_estimator=str(algorithm.advantage_estimator),
        grpo_std=algorithm.grpo_std.value if algorithm.grpo_norm_by_std else "none",
        grpo_std_epsilon=algorithm.grpo_std_epsilon,
        grpo_singleton=algorithm.grpo_singleton.value,
        gamma=algorithm.gamma,
        lambd=algorithm.lambd,
        advantage_batch_normalize=algorithm.advantage_batch_normalize,
        policy_loss_type=str(algorithm.policy_loss_type),
        loss_reduction=str(algorithm.loss_reduction),
        max_sequence_tokens=_max_sequence_tokens(config),
        eps_clip_low=algorithm.eps_clip_low,
        eps_clip_high=algorithm.eps_clip_high,
        clip_ratio_c=algorithm.clip_ratio_c,
        sapo_tau_pos=algorithm.sapo.tau_pos,
        sapo_tau_neg=algorithm.sapo.tau_neg,
        cispo_eps_clip_low=algorithm.cispo.cispo_eps_clip_low,
        cispo_eps_clip_high=algorithm.cispo.cispo_eps_clip_high,
        clip_cov_ratio=algorithm.clip_cov.clip_ratio,
        clip_cov_lb=algorithm.clip_cov.clip_cov_lb,
        clip_cov_ub=algorithm.clip_cov.clip_cov_ub,
        kl_cov_frac=algorithm.kl_cov.kl_cov_frac,
        kl_cov_coef=algorithm.kl_cov.ppo_kl_coef,
        use_kl_loss=algorithm.use_kl_loss,
        kl_loss_coef=algorithm.kl_loss_coef,
        kl_estimator_type=algorithm.kl_estimator_type.value,
        use_kl_in_reward=algorithm.use_kl_in_reward,
        kl_reward=KlRewardSettings(
            is_adaptive=algorithm.kl_ctrl.type is KlController.ADAPTIVE,
            target=algorithm.kl_ctrl.kl_target,
            horizon=algorithm.kl_ctrl.horizon,
        ),
        entropy_loss_coef=algorithm.entropy_loss_coef if algorithm.use_entropy_loss else 0.0,
        temperature=config.generator.sampling_params.temperature or 1.0,
    )


def critic_options(config: RunConfig, *, num_steps: int) -> CriticOptions | None:
    """The critic of a run of `num_steps` training steps; None where its estimator needs no values."""
    trainer = config.trainer
    if not trainer.has_critic or trainer.critic.model.path is None:
        return None
    per_step = trainer.train_batch_size // trainer.critic_mini_batch_size * trainer.update_epochs_per_batch
    return CriticOptions(
        path=trainer.critic.model.path,
        head_name=trainer.algorithm.value_head_prefix,
        mini_batch_prompts=trainer.critic_mini_batch_size,
        value_clip=trainer.algorithm.value_clip,
        optimizer=optimizer_options(trainer.critic.optimizer_config, num_optimizer_steps=num_steps * per_step),
        sharding=sharding_options(trainer.critic.fsdp_config),
    )


def optimizer_options(optimizer: Optimizer, *, num_optimizer_steps: int) -> OptimizerOptions:
    """An optimizer that takes so many steps in the whole run."""
    return OptimizerOptions(
        lr=optimizer.lr,
        betas=optimizer.adam_betas,
        weight_decay=optimizer.weight_decay,
        max_grad_norm=optimizer.max_grad_norm,
        schedule=ScheduleKind(optimizer.scheduler.value),
        num_warmup_steps=optimizer.num_warmup_steps,
        num_training_steps=num_optimizer_steps,
    )


def sharding_options(fsdp: Fsdp) -> ShardingOptions:
    """Where a model's shards live."""
    return ShardingOptions(cpu_offload=fsdp.cpu_offload, reshard_after_forward=fsdp.reshard_after_forward)


def _max_sequence_tokens(config: RunConfig) -> int:
    asked, generator = config.trainer.algorithm.max_seq_len, config.generator
    return asked if asked > 0 else generator.max_input_length + generator.sampling_params.max_generate_length


def _correction(algorithm: Algorithm) -> CorrectionSettings:
    correction, cap = algorithm.off_policy_correction, algorithm.tis_imp_ratio_cap
    level, mask = correction.tis_ratio_type, correction.sequence_mask_metric
    return CorrectionSettings(
        level=RatioLevel.TOKEN if algorithm.use_tis else RatioLevel(level or RatioLevel.OFF),
        token_clip_high=cap if algorithm.use_tis and cap > 0 else correction.token_tis_ratio_clip_high,
        sequence_clip_high=correction.sequence_tis_ratio_clip_high,
        token_mask_low=correction.token_mask_is_threshold_low,
        token_mask_high=correction.token_mask_is_threshold_high,
        sequence_mask=SequenceMask(mask or SequenceMask.OFF),
        geo_mask_low=correction.geo_mask_low,
        geo_mask_high=correction.geo_mask_high,
        product_mask_low=correction.product_mask_low,
        product_mask_high=correction.product_mask_high,
        outlier_low=correction.outlier_token_is_threshold_low,
        outlier_high=correction.outlier_token_is_threshold_high,
    )
