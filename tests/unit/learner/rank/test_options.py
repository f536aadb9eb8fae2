"""From the run file to a rank's options: what a user set is what the trainer gets."""

import pytest

from tetrad_config import load
from tetrad_learner.rank.options import trainer_options
from tetrad_learner.trainer.options import ComputeDtype, LoraInit, LoraOptions, RowLayout, ScheduleKind


def options_of(*overrides, device="cpu", num_steps=100):
    config = load(["+experiment=demo", *overrides], environ={}).config
    return trainer_options(config, device=device, num_steps=num_steps)


def test_the_epsilon_of_grpo_reaches_the_trainer():
    assert options_of("trainer.algorithm.grpo_std_epsilon=0.01").algorithm.grpo_std_epsilon == 0.01


def test_without_normalising_grpo_divides_by_nothing():
    assert options_of("trainer.algorithm.grpo_norm_by_std=false").algorithm.grpo_std == "none"


@pytest.mark.parametrize("scheduler", ["linear", "cosine"])
def test_a_falling_learning_rate_ends_with_the_last_optimizer_step_of_the_run(scheduler):
    optimizer = options_of(
        f"trainer.policy.optimizer_config.scheduler={scheduler}",
        "trainer.policy_mini_batch_size=8",
        "trainer.update_epochs_per_batch=2",
        num_steps=10,
    ).optimizer

    assert optimizer.schedule is ScheduleKind(scheduler)
    assert optimizer.num_training_steps == 10 * (32 // 8) * 2


def test_a_token_budget_replaces_both_sizes_of_micro_batches():
    budget = options_of("trainer.max_tokens_per_microbatch=4096")
    sizes = options_of(
        "trainer.max_tokens_per_microbatch=-1",
        "trainer.micro_train_batch_size_per_gpu=4",
        "trainer.micro_forward_batch_size_per_gpu=16",
    )

    assert (budget.max_tokens_per_micro_batch, budget.micro_forward_batch_size) == (4096, None)
    assert (sizes.max_tokens_per_micro_batch, sizes.micro_train_batch_size, sizes.micro_forward_batch_size) == (
        None,
        4,
        16,
    )


def test_adapters_reach_the_trainer_and_are_off_by_default():
    lora = options_of(
        "trainer.policy.model.lora.rank=8",
        "trainer.policy.model.lora.alpha=4",
        "trainer.policy.model.lora.dropout=0.1",
        "trainer.policy.model.lora.target_modules=[q_proj]",
        "trainer.policy.model.lora.exclude_modules=[layers.0.self_attn.q_proj]",
        "trainer.policy.model.lora.init_method=gaussian",
    ).lora

    assert options_of().lora is None
    assert lora == LoraOptions(
        rank=8,
        alpha=4.0,
        dropout=0.1,
        target_modules=("q_proj",),
        exclude_modules=("layers.0.self_attn.q_proj",),
        init_method=LoraInit.GAUSSIAN,
    )


def test_bfloat16_and_packing_are_for_gpus():
    on_cpu, on_gpu = options_of("trainer.bf16=true"), options_of("trainer.bf16=true", device="cuda")

    assert (on_cpu.compute_dtype, on_cpu.row_layout) == (ComputeDtype.FLOAT32, RowLayout.PADDED)
    assert (on_gpu.compute_dtype, on_gpu.row_layout) == (ComputeDtype.BFLOAT16, RowLayout.PACKED)


def test_without_a_training_step_neither_reference_nor_critic_is_loaded():
    divergence = ("trainer.algorithm.use_kl_loss=true", "trainer.algorithm.use_kl_in_reward=false")
    size = "trainer.critic_mini_batch_size=32"
    critic = ("trainer.algorithm.advantage_estimator=gae", "trainer.critic.model.path=/critic", size)

    training, evaluating = (options_of(*divergence, *critic, num_steps=number) for number in (1, 0))

    assert training.algorithm.needs_reference
    assert training.critic is not None
    assert not evaluating.algorithm.needs_reference
    assert evaluating.critic is None


def test_micro_batches_that_did_not_fit_are_divided_and_never_vanish():
    config = load(
        ["+experiment=demo", "trainer.max_tokens_per_microbatch=-1", "trainer.micro_train_batch_size_per_gpu=8"],
        environ={},
    ).config
    budget = load(["+experiment=demo", "trainer.max_tokens_per_microbatch=4096"], environ={}).config

    def divided(config, by):
        return trainer_options(config, device="cpu", num_steps=1, micro_batch_divisor=by)

    assert [divided(config, by).micro_train_batch_size for by in (1, 2, 100)] == [8, 4, 1]
    assert divided(config, 100).micro_forward_batch_size == 1
    assert divided(budget, 26).max_tokens_per_micro_batch == 157
