"""Notices: what a user should know about a configuration that is right. Pure.

Nothing is ignored without a word: a key that was set and has no effect is named here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tetrad_config.algorithm import AdvantageEstimator, GrpoSingleton, KlController, LossReduction, PolicyLoss
from tetrad_config.conditional import Conditional
from tetrad_config.correction import DynamicSamplingType, RatioLevel, SequenceMaskMetric
from tetrad_config.generator import Backend
from tetrad_config.grading import GRADING
from tetrad_config.layer import Origin
from tetrad_config.plan import keeps_best
from tetrad_config.run import RunConfig
from tetrad_config.section import OFF, DottedKey
from tetrad_config.trainer import Logger, ResumeMode

CLIPPED_LOSSES: Final = (
    PolicyLoss.REGULAR,
    PolicyLoss.DUAL_CLIP,
    PolicyLoss.GSPO,
    PolicyLoss.CLIP_COV,
    PolicyLoss.ROLLOUT_IS,
)
"""Losses that read eps_clip_low and eps_clip_high."""

COMPARING: Final = (AdvantageEstimator.GRPO, AdvantageEstimator.RLOO, AdvantageEstimator.MAXRL)
"""Estimators that compare the samples of a group."""

_CORRECTION: Final = "trainer.algorithm.off_policy_correction"


def _ratio_level(config: RunConfig) -> RatioLevel | None:
    algorithm = config.trainer.algorithm
    return algorithm.off_policy_correction.tis_ratio_type or (RatioLevel.TOKEN if algorithm.use_tis else None)


def _loss_is(config: RunConfig, readers: tuple[PolicyLoss, ...]) -> bool:
    """Whether the loss is one of these, or somebody else's."""
    loss = config.trainer.algorithm.policy_loss_type
    return loss in readers or not isinstance(loss, PolicyLoss)


def _estimator_is(config: RunConfig, readers: tuple[AdvantageEstimator, ...]) -> bool:
    """Whether the estimator is one of these, or somebody else's, which may read anything."""
    estimator = config.trainer.algorithm.advantage_estimator
    return estimator in readers or not isinstance(estimator, AdvantageEstimator)


def _mask_metric(config: RunConfig) -> SequenceMaskMetric | None:
    return config.trainer.algorithm.off_policy_correction.sequence_mask_metric


CONDITIONAL: Final[tuple[Conditional, ...]] = (
    Conditional(
        (
            "generator.gpu_memory_utilization",
            "generator.max_num_batched_tokens",
            "generator.enable_chunked_prefill",
            "generator.enforce_eager",
            # Other engines forget all keys and values that no running sample needs.
            "generator.kv_cache_policy",
            # Other engines always compute a group's prompt once and take a lease in one call.
            "generator.enable_prefix_caching",
            "generator.batched",
            "generator.weight_sync_backend",
        ),
        lambda config: config.generator.backend is Backend.SGLANG,
        lambda config: f"generator.backend={config.generator.backend}",
    ),
    *(
        Conditional(
            tuple(f"trainer.algorithm.{name}" for name in names),
            lambda config, readers=readers: _estimator_is(config, readers),  # type: ignore[misc]  # bound early
            lambda config: f"advantage_estimator={config.trainer.algorithm.advantage_estimator}",
        )
        for names, readers in (
            (("lambd", "gamma"), (AdvantageEstimator.GAE, AdvantageEstimator.REINFORCE_PLUS_PLUS)),
            (("grpo_norm_by_std", "grpo_std", "grpo_std_epsilon"), (AdvantageEstimator.GRPO,)),
            (("grpo_singleton",), (AdvantageEstimator.GRPO, AdvantageEstimator.MAXRL)),
        )
    ),
    Conditional(
        ("trainer.algorithm.lambd",),
        lambda config: config.trainer.algorithm.advantage_estimator is not AdvantageEstimator.REINFORCE_PLUS_PLUS,
        lambda _: "advantage_estimator=reinforce++, which has no lambda",
    ),
    Conditional(
        ("trainer.algorithm.grpo_std", "trainer.algorithm.grpo_std_epsilon"),
        lambda config: config.trainer.algorithm.grpo_norm_by_std,
        lambda _: "grpo_norm_by_std=false",
    ),
    Conditional(
        ("trainer.algorithm.kl_ctrl.kl_target", "trainer.algorithm.kl_ctrl.horizon"),
        lambda config: config.trainer.algorithm.kl_ctrl.type is KlController.ADAPTIVE,
        lambda _: "kl_ctrl.type=fixed",
    ),
    Conditional(
        ("trainer.algorithm.max_seq_len",),
        lambda config: (
            config.trainer.algorithm.loss_reduction is LossReduction.SEQ_MEAN_TOKEN_SUM_NORM
            or not isinstance(config.trainer.algorithm.loss_reduction, LossReduction)
        ),
        lambda config: f"loss_reduction={config.trainer.algorithm.loss_reduction}",
    ),
    Conditional(
        ("trainer.algorithm.tis_imp_ratio_cap",),
        lambda config: config.trainer.algorithm.use_tis,
        lambda _: "use_tis=false",
    ),
    Conditional(
        ("trainer.algorithm.kl_ctrl",),
        lambda config: config.trainer.algorithm.use_kl_in_reward,
        lambda _: "use_kl_in_reward=false",
    ),
    Conditional(
        (
            "trainer.algorithm.kl_loss_coef",
            "trainer.algorithm.kl_estimator_type",
            "trainer.ref",
            "trainer.update_ref_every_epoch",
        ),
        lambda config: config.trainer.algorithm.use_kl_loss or config.trainer.algorithm.use_kl_in_reward,
        lambda _: "use_kl_loss=false",
    ),
    Conditional(
        ("trainer.algorithm.entropy_loss_coef",),
        lambda config: config.trainer.algorithm.use_entropy_loss,
        lambda _: "use_entropy_loss=false",
    ),
    Conditional(
        (
            "trainer.critic_mini_batch_size",
            "trainer.critic",
            "trainer.algorithm.value_clip",
            "trainer.algorithm.value_head_prefix",
        ),
        lambda config: config.trainer.has_critic,
        lambda config: f"no critic (advantage_estimator={config.trainer.algorithm.advantage_estimator})",
    ),
    Conditional(
        (f"{_CORRECTION}.token_tis_ratio_clip_high",),
        lambda config: _ratio_level(config) is RatioLevel.TOKEN,
        lambda config: f"tis_ratio_type={_ratio_level(config) or 'null'}",
    ),
    Conditional(
        (f"{_CORRECTION}.sequence_tis_ratio_clip_high",),
        lambda config: _ratio_level(config) is RatioLevel.SEQUENCE,
        lambda config: f"tis_ratio_type={_ratio_level(config) or 'null'}",
    ),
    Conditional(
        (f"{_CORRECTION}.geo_mask_high", f"{_CORRECTION}.geo_mask_low"),
        lambda config: _mask_metric(config) is SequenceMaskMetric.GEOMETRIC,
        lambda config: f"sequence_mask_metric={_mask_metric(config) or 'null'}",
    ),
    Conditional(
        (f"{_CORRECTION}.product_mask_high", f"{_CORRECTION}.product_mask_low"),
        lambda config: _mask_metric(config) is SequenceMaskMetric.PRODUCT,
        lambda config: f"sequence_mask_metric={_mask_metric(config) or 'null'}",
    ),
    Conditional(
        ("trainer.algorithm.overlong_buffer.len", "trainer.algorithm.overlong_buffer.penalty_factor"),
        lambda config: config.trainer.algorithm.overlong_buffer.enable,
        lambda _: "overlong_buffer.enable=false",
    ),
    Conditional(
        ("trainer.algorithm.dynamic_sampling",),
        lambda config: config.generator.n_samples_per_prompt > 1,
        lambda _: "n_samples_per_prompt=1: a single reward is equal to no other",
    ),
    Conditional(
        ("trainer.algorithm.zero_variance_filter",),
        lambda config: (
            config.trainer.algorithm.dynamic_sampling.type is None or config.trainer.algorithm.overlong_buffer.enable
        ),
        lambda config: f"dynamic_sampling.type={config.trainer.algorithm.dynamic_sampling.type}",
    ),
    Conditional(
        ("trainer.algorithm.dynamic_sampling.max_sample_batches",),
        lambda config: config.trainer.algorithm.dynamic_sampling.type is not None,
        lambda _: "dynamic_sampling.type=null",
    ),
    Conditional(
        ("trainer.algorithm.dynamic_sampling.min_replace_ratio",),
        lambda config: config.trainer.algorithm.dynamic_sampling.type is DynamicSamplingType.REPLACE,
        lambda config: f"dynamic_sampling.type={config.trainer.algorithm.dynamic_sampling.type or 'null'}",
    ),
    *(
        Conditional(
            (f"trainer.algorithm.{section}",),
            lambda config, losses=losses: _loss_is(config, losses),  # type: ignore[misc]  # bound early
            lambda config: f"policy_loss_type={config.trainer.algorithm.policy_loss_type}",
        )
        for section, losses in (
            ("sapo", (PolicyLoss.SAPO,)),
            ("clip_cov", (PolicyLoss.CLIP_COV,)),
            ("kl_cov", (PolicyLoss.KL_COV,)),
            ("cispo", (PolicyLoss.CISPO,)),
            ("clip_ratio_c", (PolicyLoss.DUAL_CLIP,)),
            ("eps_clip_low", CLIPPED_LOSSES),
            ("eps_clip_high", CLIPPED_LOSSES),
        )
    ),
    Conditional(
        ("trainer.micro_train_batch_size_per_gpu", "trainer.micro_forward_batch_size_per_gpu"),
        lambda config: config.trainer.max_tokens_per_microbatch == OFF,
        lambda config: f"max_tokens_per_microbatch={config.trainer.max_tokens_per_microbatch}",
    ),
    Conditional(
        ("trainer.policy.optimizer_config.offload_after_step",),
        lambda config: config.trainer.placement.colocate_all,
        lambda _: "colocate_all=false",
    ),
    Conditional(
        ("trainer.policy.model.lora",),
        lambda config: config.trainer.policy.model.lora.rank > 0,
        lambda _: "lora.rank=0",
    ),
    Conditional(
        ("trainer.critic.model.lora",),
        lambda _: False,
        lambda _: "trainer.critic.model.lora.rank=0",
    ),
    Conditional(
        ("generator.enable_lora",),
        lambda config: config.generator.backend is Backend.SGLANG,
        lambda _: "this engine, which gets adapters merged; those alone need generator.backend=sglang",
    ),
    Conditional(
        ("trainer.resume_mode", "trainer.ckpt_interval", "trainer.eval_interval", "trainer.max_steps"),
        lambda config: config.trainer.epochs > 0,
        lambda _: "trainer.epochs=0, which evaluates and neither resumes, trains nor saves",
    ),
    Conditional(
        ("trainer.best_ckpt_metric",),
        keeps_best,
        lambda _: "no evaluation during training (data.val_data, trainer.eval_interval)",
    ),
    Conditional(
        ("trainer.project_name",),
        lambda config: any(logger not in (Logger.CONSOLE, Logger.TENSORBOARD) for logger in config.trainer.logger),
        lambda config: f"trainer.logger={', '.join(config.trainer.logger)}",
    ),
    Conditional(
        ("trainer.log_example_interval",),
        lambda config: any(logger is not Logger.CONSOLE for logger in config.trainer.logger),
        lambda config: f"trainer.logger={', '.join(config.trainer.logger) or '[]'}, which shows no tables",
    ),
    Conditional(
        ("trainer.export_path",),
        lambda config: config.trainer.dump_eval_results,
        lambda _: "dump_eval_results=false; every checkpoint is a Hugging Face folder already",
    ),
    Conditional(
        ("trainer.eval_batch_size",),
        lambda _: False,
        lambda _: "evaluation, which has no batches (its prompts are leased as engines have room)",
    ),
    *GRADING,
)


def _without_effect(config: RunConfig, origins: Mapping[DottedKey, Origin]) -> Iterator[str]:
    asked = [key for key, origin in origins.items() if origin.kind.is_asked_for]
    for row in CONDITIONAL:
        if row.matters(config):
            continue
        idle = [key for key in asked if any(key == own or key.startswith(f"{own}.") for own in row.keys)]
        if idle:
            yield f"no effect with {row.because(config)}: {', '.join(idle)}"


def _about_sampling(config: RunConfig) -> Iterator[str]:
    sampling, samples = config.generator.sampling_params, config.generator.n_samples_per_prompt
    if sampling.is_truncated:
        yield (
            "generator.sampling_params: top_p, top_k or min_p cut tokens off, so rollout log-probs are those of the "
            "whole distribution, not of the behaviour policy"
        )
    if sampling.temperature == 0 and samples > 1 and config.trainer.epochs > 0:
        yield f"generator.sampling_params.temperature=0: the {samples} samples of a prompt are equal and teach nothing"
    if samples == 1 and config.trainer.algorithm.advantage_estimator in COMPARING and config.trainer.epochs > 0:
        yield f"generator.n_samples_per_prompt=1: {_about_groups_of_one(config)}"
    if config.generator.deterministic and config.trainer.fully_async.max_staleness_steps:
        yield "generator.deterministic: weights are bit-identical between runs only with max_staleness_steps=0"


def _about_groups_of_one(config: RunConfig) -> str:
    algorithm = config.trainer.algorithm
    estimator = algorithm.advantage_estimator
    is_raw = algorithm.grpo_singleton is GrpoSingleton.RAW_REWARD and estimator is not AdvantageEstimator.RLOO
    outcome = "its reward is its advantage (grpo_singleton=raw_reward)" if is_raw else "no reward teaches anything"
    return f"a group of one has nothing to compare with under {estimator}: {outcome}"


def _about_models(config: RunConfig) -> Iterator[str]:
    trainer = config.trainer
    has_reference = trainer.epochs > 0 and (trainer.algorithm.use_kl_loss or trainer.algorithm.use_kl_in_reward)
    if has_reference and trainer.ref.model.path != trainer.policy.model.path:
        yield f"the reference {trainer.ref.model.path} is not the model that training starts from"
    yield from _about_adapters(config)
    packed_by_tokens = trainer.max_tokens_per_microbatch != OFF
    if has_reference and not packed_by_tokens and trainer.micro_forward_batch_size_per_gpu == 1:
        yield (
            "trainer.micro_forward_batch_size_per_gpu=1: log-probs are computed one sample at a time; raise it or set "
            "trainer.max_tokens_per_microbatch"
        )


def _about_adapters(config: RunConfig) -> Iterator[str]:
    lora = config.trainer.policy.model.lora
    if lora.rank == 0 or lora.dropout == 0:
        return
    yield (
        f"trainer.policy.model.lora.dropout={lora.dropout:g}: gradients are those of the thinned policy, which neither "
        "engines sample from nor the log-probs of a pass without gradient are of; where old log-probs come from such a "
        "pass (several optimizer steps in a training step, off_policy_correction), ratios of the first one scatter "
        "around 1"
    )


def _about_colocation(config: RunConfig) -> Iterator[str]:
    backend = config.generator.backend
    if config.trainer.placement.colocate_all and backend is not Backend.SGLANG:
        yield (
            f"trainer.placement.colocate_all=true with generator.backend={backend}: learner and engines take turns, "
            "but on a CPU no memory is freed by it; it is a rehearsal and costs time"
        )


def _about_evaluation(config: RunConfig) -> Iterator[str]:
    trainer = config.trainer
    if not config.data.val_data and (trainer.eval_before_train or trainer.eval_interval != OFF):
        yield "data.val_data is empty: nothing is evaluated"
    samples = config.generator.eval_n_samples_per_prompt
    if samples > 1 and config.generator.eval_sampling_params.temperature == 0:
        yield (
            f"generator.eval_sampling_params.temperature=0: the {samples} evaluation samples of a prompt are equal, "
            "and so is pass_at_k for every k"
        )
    if trainer.resume_mode is ResumeMode.FROM_PATH and trainer.epochs > 0:
        yield f"training goes on from {trainer.resume_path}, in a run of its own"


def notices_of(config: RunConfig, origins: Mapping[DottedKey, Origin]) -> list[str]:
    """Return what a user should know before the run starts."""
    return [
        *_without_effect(config, origins),
        *_about_sampling(config),
        *_about_models(config),
        *_about_colocation(config),
        *_about_evaluation(config),
    ]
