"""From the run's configuration to the trainer's plain options."""

from dataclasses import replace

from tetrad_config import RunConfig
from tetrad_config.models import Lora
from tetrad_learner.rank.algorithm import algorithm_options, critic_options, optimizer_options, sharding_options
from tetrad_learner.trainer.options import ComputeDtype, LoraInit, LoraOptions, RowLayout, TrainerOptions


def trainer_options(
    config: RunConfig, *, device: str, num_steps: int, steps_per_epoch: int = 0, micro_batch_divisor: int = 1
) -> TrainerOptions:
    """What a rank needs to know of a run of `num_steps` training steps, with the compute type that suits the device.

    `steps_per_epoch` of them are one pass over the data; 0 where there are no epochs. Without a training step
    nothing is compared with a reference and nothing is valued: neither is loaded. Micro-batches that did not fit into
    memory are divided.
    """
    trainer, algorithm = config.trainer, algorithm_options(config)
    if num_steps == 0:
        algorithm = replace(algorithm, use_kl_loss=False, use_kl_in_reward=False)

    def part(size: int) -> int:
        return max(1, size // micro_batch_divisor)

    is_gpu = device != "cpu"
    has_budget = trainer.max_tokens_per_microbatch > 0
    return TrainerOptions(
        model_path=trainer.policy.model.path,
        reference_path=trainer.ref.model.path,
        device=device,
        # bf16 on a CPU without its instructions is an order of magnitude slower.
        compute_dtype=ComputeDtype.BFLOAT16 if is_gpu and trainer.bf16 else ComputeDtype.FLOAT32,
        fp32_lm_head=trainer.policy.fp32_lm_head,
        gradient_checkpointing=trainer.gradient_checkpointing,
        use_torch_compile=trainer.policy.use_torch_compile,
        sharding=sharding_options(trainer.policy.fsdp_config),
        reference_sharding=sharding_options(trainer.ref.fsdp_config),
        row_layout=RowLayout.PACKED if is_gpu and trainer.use_sample_packing else RowLayout.PADDED,
        # With a token budget the number of samples is no limit.
        micro_train_batch_size=1 << 20 if has_budget else part(trainer.micro_train_batch_size_per_gpu),
        micro_forward_batch_size=None if has_budget else part(trainer.micro_forward_batch_size_per_gpu),
        max_tokens_per_micro_batch=part(trainer.max_tokens_per_microbatch) if has_budget else None,
        seed=trainer.seed,
        optimizer=optimizer_options(
            trainer.policy.optimizer_config, num_optimizer_steps=num_steps * _optimizer_steps_per_step(config)
        ),
        algorithm=algorithm,
        reference_interval=steps_per_epoch if trainer.update_ref_every_epoch else 0,
        critic=critic_options(config, num_steps=num_steps) if num_steps else None,
        lora=_lora_options(trainer.policy.model.lora),
    )


def _lora_options(lora: Lora) -> LoraOptions | None:
    if lora.rank == 0:
        return None
    return LoraOptions(
        rank=lora.rank,
        alpha=lora.alpha,
        dropout=lora.dropout,
        target_modules=lora.target_modules,
        exclude_modules=lora.exclude_modules,
        init_method=LoraInit(lora.init_method),
    )


def _optimizer_steps_per_step(config: RunConfig) -> int:
    trainer = config.trainer
    return trainer.train_batch_size // trainer.policy_mini_batch_size * trainer.update_epochs_per_batch
