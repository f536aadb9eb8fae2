"""Rules: what must hold between keys. Pure; one small generator per rule, all of them run.

SkyRL's rules (its `validate_cfg`), with the numbers, the limit and a fix in each message, and Tetrad's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tetrad_config.algorithm import AdvantageEstimator, PolicyLoss
from tetrad_config.correction import RatioLevel
from tetrad_config.errors import Problem
from tetrad_config.generator import Backend
from tetrad_config.grading import GRADING_RULES
from tetrad_config.models import ALL_LINEAR
from tetrad_config.run import RunConfig
from tetrad_config.section import OFF
from tetrad_config.trainer import ResumeMode

Rule = Callable[[RunConfig], Iterator[Problem]]
CHECKPOINT_NAME: Final = re.compile(r"^global_step_\d+$")


def _divisors_near(number: int, wanted: int) -> str:
    """Name the divisors of `number` on both sides of `wanted`: what could be written instead."""
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    below = [d for d in divisors if d < wanted][-1:]
    above = [d for d in divisors if d > wanted][:1]
    return " or ".join(str(d) for d in (*below, *above))


def _mini_batches_fill_the_batch(config: RunConfig) -> Iterator[Problem]:
    trainer = config.trainer
    batch = trainer.train_batch_size
    sizes = {"trainer.policy_mini_batch_size": trainer.policy_mini_batch_size}
    if trainer.has_critic:
        sizes["trainer.critic_mini_batch_size"] = trainer.critic_mini_batch_size
    for key, mini in sizes.items():
        if mini > batch:
            message = f"{mini} prompts is more than trainer.train_batch_size={batch}; set {key}={batch}"
            yield Problem(key=key, message=message)
        elif batch % mini:
            near = _divisors_near(batch, mini)
            message = f"{mini} does not divide trainer.train_batch_size={batch} (remainder {batch % mini}); use {near}"
            yield Problem(key=key, message=message)


def _mini_batches_split_over_ranks(config: RunConfig) -> Iterator[Problem]:
    trainer, ranks = config.trainer, config.trainer.placement.num_ranks
    samples = trainer.policy_mini_batch_size * config.generator.n_samples_per_prompt
    if samples % ranks:
        message = (
            f"{trainer.policy_mini_batch_size} prompts x {config.generator.n_samples_per_prompt} samples = {samples}, "
            f"not divisible by {ranks} ranks (trainer.placement); use {_divisors_near(samples, ranks)} ranks"
        )
        yield Problem(key="trainer.policy_mini_batch_size", message=message)
        return
    share, micro = samples // ranks, trainer.micro_train_batch_size_per_gpu
    if trainer.max_tokens_per_microbatch == OFF and share % micro:
        message = (
            f"{micro} does not divide the {share} samples of a mini-batch on one rank "
            f"({samples} samples / {ranks} ranks); use {_divisors_near(share, micro)}"
        )
        yield Problem(key="trainer.micro_train_batch_size_per_gpu", message=message)


def _the_batch_feeds_every_rank(config: RunConfig) -> Iterator[Problem]:
    batch, ranks = config.trainer.train_batch_size, config.trainer.placement.num_ranks
    if batch < ranks:
        message = f"{batch} prompts is less than the {ranks} ranks; set trainer.train_batch_size={ranks} or more"
        yield Problem(key="trainer.train_batch_size", message=message)


def _one_sample_fits_a_micro_batch(config: RunConfig) -> Iterator[Problem]:
    budget, generator = config.trainer.max_tokens_per_microbatch, config.generator
    longest = generator.max_input_length + generator.sampling_params.max_generate_length
    if budget != OFF and budget < longest:
        message = (
            f"{budget} tokens is less than the longest sample, {longest} = generator.max_input_length "
            f"{generator.max_input_length} + max_generate_length "
            f"{generator.sampling_params.max_generate_length}; set it to {longest} or more"
        )
        yield Problem(key="trainer.max_tokens_per_microbatch", message=message)


def _kl_is_counted_once(config: RunConfig) -> Iterator[Problem]:
    algorithm = config.trainer.algorithm
    if algorithm.use_kl_loss and algorithm.use_kl_in_reward:
        message = "the divergence is in the loss already; set use_kl_loss=false or use_kl_in_reward=false"
        yield Problem(key="trainer.algorithm.use_kl_in_reward", message=message)


def _gae_has_a_critic(config: RunConfig) -> Iterator[Problem]:
    trainer = config.trainer
    if trainer.algorithm.advantage_estimator is AdvantageEstimator.GAE and trainer.critic.model.path is None:
        message = f"gae needs a critic; set trainer.critic.model.path={trainer.policy.model.path}"
        yield Problem(key="trainer.critic.model.path", message=message)


def _maxrl_sees_no_penalty(config: RunConfig) -> Iterator[Problem]:
    algorithm = config.trainer.algorithm
    if algorithm.advantage_estimator is AdvantageEstimator.MAXRL and algorithm.use_kl_in_reward:
        message = "the penalty can make a group's mean negative, and maxrl divides by it; set use_kl_loss instead"
        yield Problem(key="trainer.algorithm.use_kl_in_reward", message=message)


def _correction_suits_the_loss(config: RunConfig) -> Iterator[Problem]:
    algorithm = config.trainer.algorithm
    is_on = algorithm.use_tis or algorithm.off_policy_correction.tis_ratio_type is not None
    if is_on and algorithm.policy_loss_type in (PolicyLoss.CLIP_COV, PolicyLoss.KL_COV, PolicyLoss.ROLLOUT_IS):
        message = f"{algorithm.policy_loss_type} cannot be combined with importance sampling; set it to null"
        yield Problem(key="trainer.algorithm.off_policy_correction.tis_ratio_type", message=message)
    if algorithm.use_tis and algorithm.off_policy_correction.tis_ratio_type is RatioLevel.SEQUENCE:
        message = "means tis_ratio_type=token, and tis_ratio_type=sequence is set; leave use_tis out"
        yield Problem(key="trainer.algorithm.use_tis", message=message)


def _correction_has_something_to_correct(config: RunConfig) -> Iterator[Problem]:
    algorithm, correction = config.trainer.algorithm, config.trainer.algorithm.off_policy_correction
    asked = {
        "use_tis": algorithm.use_tis or None,
        **{
            f"off_policy_correction.{name}": getattr(correction, name)
            for name in (
                "tis_ratio_type",
                "token_mask_is_threshold_low",
                "sequence_mask_metric",
                "outlier_token_is_threshold_low",
                "outlier_token_is_threshold_high",
            )
        },
    }
    if algorithm.use_rollout_logprobs_as_old:
        for name in (name for name, value in asked.items() if value is not None):
            message = "compares old with rollout log-probs, and use_rollout_logprobs_as_old=true makes them equal"
            yield Problem(key=f"trainer.algorithm.{name}", message=f"{message}; leave one of them out")


def _bounds_are_in_order(config: RunConfig) -> Iterator[Problem]:
    algorithm, correction = config.trainer.algorithm, config.trainer.algorithm.off_policy_correction
    section = "trainer.algorithm.off_policy_correction"
    bounds: dict[tuple[str, str], tuple[float | None, float | None]] = {
        (f"{section}.geo_mask_low", "geo_mask_high"): (correction.geo_mask_low, correction.geo_mask_high),
        (f"{section}.product_mask_low", "product_mask_high"): (
            correction.product_mask_low,
            correction.product_mask_high,
        ),
        (f"{section}.token_mask_is_threshold_low", "token_mask_is_threshold_high"): (
            correction.token_mask_is_threshold_low,
            correction.token_mask_is_threshold_high,
        ),
        (f"{section}.outlier_token_is_threshold_low", "outlier_token_is_threshold_high"): (
            correction.outlier_token_is_threshold_low,
            correction.outlier_token_is_threshold_high,
        ),
        ("trainer.algorithm.clip_cov.clip_cov_lb", "clip_cov_ub"): (
            algorithm.clip_cov.clip_cov_lb,
            algorithm.clip_cov.clip_cov_ub,
        ),
    }
    for (key, above), (low, high) in bounds.items():
        if low is not None and high is not None and low >= high:
            yield Problem(key=key, message=f"{low:g} must be below {above}={high:g}, or nothing lies between them")
    icepop = (correction.token_mask_is_threshold_low, correction.token_mask_is_threshold_high)
    if (icepop[0] is None) != (icepop[1] is None):
        message = "the token mask has two bounds and one is null; set both (0.5 and 2.0 are usual), or neither"
        yield Problem(key=f"{section}.token_mask_is_threshold_low", message=message)


def _input_holds_the_prompt(config: RunConfig) -> Iterator[Problem]:
    room, prompt = config.generator.max_input_length, config.trainer.max_prompt_length
    turns = config.generator.max_turns
    if turns == 1 and room != prompt:
        message = (
            f"{room} differs from trainer.max_prompt_length={prompt}; with max_turns=1 the input is the prompt: "
            f"leave it out, or set {prompt}"
        )
        yield Problem(key="generator.max_input_length", message=message)
    elif room < prompt:
        message = f"{room} is less than trainer.max_prompt_length={prompt}; set {prompt} or more for {turns} turns"
        yield Problem(key="generator.max_input_length", message=message)


def _batched_means_one_turn(config: RunConfig) -> Iterator[Problem]:
    generator = config.generator
    if generator.batched and generator.max_turns > 1:
        message = f"one call per lease has a single turn; generator.max_turns is {generator.max_turns}; set false"
        yield Problem(key="generator.batched", message=message)
    if generator.batched and generator.chat_template_kwargs:
        message = "excludes generator.chat_template_kwargs; set generator.batched=false"
        yield Problem(key="generator.batched", message=message)


def _several_hosts_are_not_colocated(config: RunConfig) -> Iterator[Problem]:
    placement = config.trainer.placement
    if placement.policy_num_nodes > 1 and placement.colocate_all:
        message = (
            f"{placement.policy_num_nodes} hosts with trainer.placement.colocate_all: engines that share GPUs with "
            "ranks of another host are not built; set trainer.placement.colocate_all=false"
        )
        yield Problem(key="trainer.placement.policy_num_nodes", message=message)


def _colocation_is_possible(config: RunConfig) -> Iterator[Problem]:
    if not config.trainer.placement.colocate_all:
        return
    key, generator = "trainer.placement.colocate_all", config.generator
    ranks, engines = config.trainer.placement.num_ranks, generator.num_inference_engines
    if ranks != engines * generator.gpus_per_engine:
        fitting, left_over = divmod(ranks, generator.gpus_per_engine)
        fix = f"set generator.num_inference_engines={fitting}" if fitting and not left_over else f"set {key}=false"
        message = (
            f"learner and engines share GPUs, but {ranks} ranks are not {engines} engines x "
            f"{generator.gpus_per_engine} GPUs = {engines * generator.gpus_per_engine}; {fix}"
        )
        yield Problem(key=key, message=message)
    for model in ("policy", *(("critic",) if config.trainer.has_critic else ())):
        if not getattr(config.trainer, model).optimizer_config.offload_after_step:
            message = f"false would leave moments on GPUs that engines need; leave it out, or set {key}=false"
            yield Problem(key=f"trainer.{model}.optimizer_config.offload_after_step", message=message)
    staleness = config.trainer.fully_async.max_staleness_steps
    if staleness:
        message = f"needs max_staleness_steps=0, not {staleness}: on one GPU they take turns; set {key}=false"
        yield Problem(key=key, message=message)


def _the_engine_can_be_split(config: RunConfig) -> Iterator[Problem]:
    generator = config.generator
    if generator.backend is Backend.SGLANG:
        return
    if generator.inference_engine_tensor_parallel_size > 1:
        asked = generator.inference_engine_tensor_parallel_size
        message = f"{asked} is more than the limit 1 of generator.backend={generator.backend}; set 1, or use sglang"
        yield Problem(key="generator.inference_engine_tensor_parallel_size", message=message)
    if generator.engine_init_kwargs:
        names = ", ".join(generator.engine_init_kwargs)
        message = (
            f"{names}: these are arguments of SGLang; generator.backend={generator.backend} takes none; "
            "remove them with ~generator.engine_init_kwargs"
        )
        yield Problem(key="generator.engine_init_kwargs", message=message)


def _resume_is_clear(config: RunConfig) -> Iterator[Problem]:
    trainer = config.trainer
    match trainer.resume_mode, trainer.resume_path:
        case ResumeMode.FROM_PATH, None:
            message = "resume_mode=from_path needs it; set trainer.resume_path=…/global_step_N"
            yield Problem(key="trainer.resume_path", message=message)
        case ResumeMode.FROM_PATH, path if path and not CHECKPOINT_NAME.match(path.name):
            message = f"{path} is not a checkpoint; its last part must be global_step_N, N a number"
            yield Problem(key="trainer.resume_path", message=message)
        case (ResumeMode.NONE | ResumeMode.LATEST) as mode, path if path:
            message = f"has no effect with resume_mode={mode}; set trainer.resume_mode=from_path or leave it out"
            yield Problem(key="trainer.resume_path", message=message)
    if trainer.overwrite and trainer.resume_mode is not ResumeMode.NONE:
        message = f"would clear what resume_mode={trainer.resume_mode} resumes from; set trainer.resume_mode=none"
        yield Problem(key="trainer.overwrite", message=message)


def _there_is_something_to_do(config: RunConfig) -> Iterator[Problem]:
    trainer = config.trainer
    if trainer.epochs > 0 and not config.data.train_data:
        yield Problem(key="data.train_data", message="is empty; name a file, or set trainer.epochs=0 to evaluate only")
    if trainer.epochs == 0 and not (trainer.eval_before_train and config.data.val_data):
        message = (
            "0 trains nothing, and nothing is evaluated either; set trainer.epochs=1, or "
            "trainer.eval_before_train=true with data.val_data"
        )
        yield Problem(key="trainer.epochs", message=message)


def _the_engine_serves_the_policy(config: RunConfig) -> Iterator[Problem]:
    served, trained = config.generator.model_name, config.trainer.policy.model.path
    if served != trained:
        message = f"{served} is not the policy that is trained, {trained}; leave it out"
        yield Problem(key="generator.model_name", message=message)


def _adapters_are_where_they_are_said_to_be(config: RunConfig) -> Iterator[Problem]:
    rank, said = config.trainer.policy.model.lora.rank, config.generator.enable_lora
    if said and rank == 0:
        message = "there are no adapters; set trainer.policy.model.lora.rank=32, or leave it out"
        yield Problem(key="generator.enable_lora", message=message)


def _adapters_alone_go_to_one_gpu(config: RunConfig) -> Iterator[Problem]:
    size = config.generator.inference_engine_tensor_parallel_size
    if config.syncs_adapters_only and size > 1:
        message = (
            f"{size} GPUs for each engine: adapters alone are only proven in engines on one; "
            "set generator.enable_lora=false to sync them merged"
        )
        yield Problem(key="generator.inference_engine_tensor_parallel_size", message=message)


GATED: Final = frozenset({"gate_proj", "up_proj"})


def _adapters_have_layers(config: RunConfig) -> Iterator[Problem]:
    lora = config.trainer.policy.model.lora
    if lora.rank == 0:
        return
    key = "trainer.policy.model.lora.target_modules"
    if not lora.target_modules:
        yield Problem(key=key, message=f"is empty, and nothing would be trained; set {ALL_LINEAR}")
    elif ALL_LINEAR in lora.target_modules and len(lora.target_modules) > 1:
        names = ", ".join(lora.target_modules)
        message = f"{names}: {ALL_LINEAR} are all of them; leave it out, or the others"
        yield Problem(key=key, message=message)
    elif config.syncs_adapters_only:
        yield from _adapters_are_whole_for_sglang(lora.target_modules, key)


def _adapters_are_whole_for_sglang(targets: Sequence[str], key: str) -> Iterator[Problem]:
    """SGLang fuses layers: an adapter of one of them needs those of the others, but `k_proj` may be left out."""
    chosen = {name.rpartition(".")[2] for name in targets}
    for fused, needed in (({"q_proj", "k_proj", "v_proj"}, {"q_proj", "v_proj"}), (GATED, GATED)):
        if chosen & fused and (missing := needed - chosen):
            message = (
                f"{', '.join(sorted(chosen & fused))}: SGLang serves no adapter of these without "
                f"{', '.join(sorted(missing))}; add it, or set generator.enable_lora=false to sync adapters merged"
            )
            yield Problem(key=key, message=message)


def _the_base_of_adapters_stays(config: RunConfig) -> Iterator[Problem]:
    rank = config.trainer.policy.model.lora.rank
    if config.trainer.update_ref_every_epoch and rank > 0:
        message = (
            f"with trainer.policy.model.lora.rank={rank} the reference is the base below the adapters, which never "
            "moves; set false, or lora.rank=0"
        )
        yield Problem(key="trainer.update_ref_every_epoch", message=message)


def _overlong_buffer_fits(config: RunConfig) -> Iterator[Problem]:
    buffer, longest = config.trainer.algorithm.overlong_buffer, config.generator.sampling_params.max_generate_length
    if buffer.enable and buffer.len > longest:
        key = "trainer.algorithm.overlong_buffer.len"
        message = f"{buffer.len} tokens is more than generator.sampling_params.max_generate_length={longest}"
        yield Problem(key=key, message=f"{message}; set {key}={max(1, longest // 4)}")


RULES: Final[tuple[Rule, ...]] = (
    _mini_batches_fill_the_batch,
    _mini_batches_split_over_ranks,
    _the_batch_feeds_every_rank,
    _one_sample_fits_a_micro_batch,
    _kl_is_counted_once,
    _gae_has_a_critic,
    _maxrl_sees_no_penalty,
    _correction_suits_the_loss,
    _correction_has_something_to_correct,
    _bounds_are_in_order,
    _adapters_are_where_they_are_said_to_be,
    _adapters_alone_go_to_one_gpu,
    _adapters_have_layers,
    _the_base_of_adapters_stays,
    _overlong_buffer_fits,
    _input_holds_the_prompt,
    _batched_means_one_turn,
    _several_hosts_are_not_colocated,
    _colocation_is_possible,
    _the_engine_can_be_split,
    _resume_is_clear,
    _there_is_something_to_do,
    _the_engine_serves_the_policy,
    *GRADING_RULES,
)


def check(config: RunConfig) -> list[Problem]:
    """Return everything that does not fit together."""
    return [problem for rule in RULES for problem in rule(config)]
