"""Plan: the arithmetic of a run, before anything loads. Pure; needs no model, data, GPU or network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tetrad_config.errors import ConfigError, Problem
from tetrad_config.run import RunConfig
from tetrad_config.section import OFF

GSM8K_TRAIN_ROWS: Final = 7473
GSM8K_VALIDATION_ROWS: Final = 1319
# float32 master weights and AdamW's two moments; the Hugging Face copy comes on top.
TRAINER_STATE_BYTES_PER_PARAMETER: Final = 12
# The same and a float32 gradient.
TRAINING_BYTES_PER_PARAMETER: Final = 16
# float32, of what only adapters train around: it has neither gradient nor moments, and no checkpoint holds it twice.
FROZEN_BYTES_PER_PARAMETER: Final = 4
ADAPTER_FILE_BYTES_PER_PARAMETER: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One training step."""

    prompts: int
    samples_per_prompt: int
    samples: int
    samples_per_rank: int
    tokens: int
    """Most tokens that one step can hold, prompts included."""
    mini_batches: int
    """Optimizer steps of one pass over the batch."""
    mini_batch_samples: int
    """Samples of one mini-batch, over all ranks."""
    micro_batches: int | None
    """Forward and backward passes per mini-batch and rank; None where tokens, not samples, are counted."""
    micro_batch_samples: int | None
    """Samples of one of them on one rank."""
    micro_batch_tokens: int | None
    """Tokens of one of them on one rank, where tokens are counted."""
    optimizer_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """The whole run. None where a number cannot be known before the data is seen."""

    epochs: int
    steps_per_epoch: int | None
    steps: int | None
    """Training steps in all."""
    optimizer_steps: int | None
    samples: int | None
    """Training samples in all."""
    evaluations: int | None
    samples_per_evaluation: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Disk and memory. None where the size of the model is unknown."""

    parameters: int | None
    """Parameters of the policy."""
    trained_parameters: int | None
    """Those that training changes: all of them, or the adapters'."""
    checkpoints_written: int | None
    checkpoints_kept: int | None
    """At the end, the best of an evaluation among them."""
    checkpoint_bytes: int | None
    """Bytes of one checkpoint."""
    disk_bytes: int | None
    """Bytes of all checkpoints that are kept, and of the one being written."""
    is_estimate: bool
    """Whether the adapters are estimated by the model's name, and with them what follows from their number."""
    rank_bytes: int | None
    """Bytes of weights, gradients and moments on one rank, without activations."""
    copy_bytes: int | None
    """Bytes of the host's memory that a checkpoint takes while it is written beside the training, over all ranks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run will do, in numbers."""

    ranks: int
    rollout_replicas: int
    gpus_per_engine: int
    reward_replicas: int
    train_rows: int | None
    validation_rows: int | None
    batch: Batch
    length: Length
    storage: Storage
    notices: tuple[str, ...]
    """Roundings that the user should know."""


def _rows(files: tuple[str, ...], known: int) -> int | None:
    """GSM8K's size is known without looking, where all the data is one file of it."""
    return known if len(files) == 1 and "gsm8k" in files[0].lower() else None


def _batch(config: RunConfig) -> Batch:
    trainer, generator = config.trainer, config.generator
    group, ranks = generator.n_samples_per_prompt, trainer.placement.num_ranks
    samples, mini_samples = trainer.train_batch_size * group, trainer.policy_mini_batch_size * group
    mini_batches = trainer.train_batch_size // trainer.policy_mini_batch_size
    micro, by_tokens = trainer.micro_train_batch_size_per_gpu, trainer.max_tokens_per_microbatch != OFF
    return Batch(
        prompts=trainer.train_batch_size,
        samples_per_prompt=group,
        samples=samples,
        samples_per_rank=samples // ranks,
        tokens=samples * (generator.max_input_length + generator.sampling_params.max_generate_length),
        mini_batches=mini_batches,
        mini_batch_samples=mini_samples,
        micro_batches=None if by_tokens else mini_samples // ranks // micro,
        micro_batch_samples=None if by_tokens else micro,
        micro_batch_tokens=trainer.max_tokens_per_microbatch if by_tokens else None,
        optimizer_steps=mini_batches * trainer.update_epochs_per_batch,
    )


def _steps_per_epoch(config: RunConfig, rows: int | None) -> int | None:
    if rows is None or config.trainer.epochs == 0:
        return None
    if rows == 0:
        message = f"no rows in {', '.join(config.data.train_data)}; name a file that has some"
        raise ConfigError([Problem(key="data.train_data", message=message)])
    steps = rows // config.trainer.train_batch_size
    if steps == 0:
        message = (
            f"{config.trainer.train_batch_size} prompts per step is more than the {rows} rows of data.train_data; "
            f"set it to {rows} or less"
        )
        raise ConfigError([Problem(key="trainer.train_batch_size", message=message)])
    return steps


def _steps(config: RunConfig, steps_per_epoch: int | None) -> int | None:
    trainer = config.trainer
    if trainer.epochs == 0:
        return 0
    if steps_per_epoch is None:
        return trainer.max_steps
    by_epochs = trainer.epochs * steps_per_epoch
    return min(by_epochs, trainer.max_steps or by_epochs)


def _times(interval: int, steps: int | None) -> int | None:
    """How often something happens that happens every `interval` steps and at the last."""
    if steps is None:
        return None
    return 0 if interval == OFF else -(-steps // interval)


def _evaluations(config: RunConfig, steps: int | None) -> int | None:
    if not config.data.val_data:
        return 0
    during = _times(config.trainer.eval_interval, steps)
    return None if during is None else during + config.trainer.eval_before_train


def _samples_per_evaluation(config: RunConfig, rows: int | None) -> int | None:
    if not config.data.val_data or rows is None:
        return None
    return rows * (config.generator.eval_n_samples_per_prompt + config.trainer.eval_sampled_n)


def _length(config: RunConfig, batch: Batch, *, rows: int | None, validation_rows: int | None) -> Length:
    per_epoch = _steps_per_epoch(config, rows)
    steps = _steps(config, per_epoch)
    return Length(
        epochs=config.trainer.epochs,
        steps_per_epoch=per_epoch,
        steps=steps,
        optimizer_steps=None if steps is None else steps * batch.optimizer_steps,
        samples=None if steps is None else steps * batch.samples,
        evaluations=_evaluations(config, steps),
        samples_per_evaluation=_samples_per_evaluation(config, validation_rows),
    )


def _checkpoints(config: RunConfig, steps: int | None) -> tuple[int | None, int | None]:
    """Return how many checkpoints are written and kept."""
    interval, limit = config.trainer.ckpt_interval, config.trainer.max_ckpts_to_keep
    # The last step writes one even where the interval is off.
    written = _times(interval if interval != OFF else max(1, steps or 1), steps)
    if written is None:
        return None, None
    return written, written if limit == OFF else min(limit + keeps_best(config), written)


def keeps_best(config: RunConfig) -> bool:
    """Whether a checkpoint may be kept for its score alone."""
    is_evaluated = bool(config.data.val_data) and config.trainer.eval_interval != OFF
    return is_evaluated and config.trainer.best_ckpt_metric is not None


def _sizes(config: RunConfig, *, parameters: int, adapters: int | None) -> tuple[int | None, int | None]:
    """Return the bytes of a checkpoint and of a rank, where they can be known."""
    folder, num_ranks = parameters * (2 if config.trainer.bf16 else 4), config.trainer.placement.num_ranks
    if config.trainer.policy.model.lora.rank == 0:
        trained = parameters * TRAINING_BYTES_PER_PARAMETER
        return folder + parameters * TRAINER_STATE_BYTES_PER_PARAMETER, trained // num_ranks
    if adapters is None:
        return None, None
    beside = adapters * (TRAINER_STATE_BYTES_PER_PARAMETER + ADAPTER_FILE_BYTES_PER_PARAMETER)
    held = parameters * FROZEN_BYTES_PER_PARAMETER + adapters * TRAINING_BYTES_PER_PARAMETER
    return folder + beside, held // num_ranks


def _storage(
    config: RunConfig, *, steps: int | None, parameters: int | None, adapters: int | None, is_estimate: bool
) -> Storage:
    written, kept = _checkpoints(config, steps)
    checkpoint = disk = rank = None
    if parameters is not None:
        checkpoint, rank = _sizes(config, parameters=parameters, adapters=adapters)
    if checkpoint is not None and written is not None and kept is not None:
        # The new one is whole before the oldest goes.
        disk = checkpoint * min(written, kept + 1)
    return Storage(
        parameters=parameters,
        trained_parameters=adapters if config.trainer.policy.model.lora.rank > 0 else parameters,
        checkpoints_written=written,
        checkpoints_kept=kept,
        checkpoint_bytes=checkpoint,
        disk_bytes=disk,
        is_estimate=is_estimate,
        rank_bytes=rank,
        # The whole of what is written is copied first.
        copy_bytes=checkpoint,
    )


def _notices(config: RunConfig, *, rows: int | None, storage: Storage) -> tuple[str, ...]:
    batch = config.trainer.train_batch_size
    if config.trainer.epochs == 0:
        return ("trainer.epochs=0: evaluation only; nothing is resumed, trained or saved",)
    notices: list[str] = []
    if rows is not None and rows % batch:
        notices.append(f"{rows % batch} of {rows:,} prompts are left over in each epoch (batches of {batch})")
    if storage.is_estimate:
        model = config.trainer.policy.model.path
        notices.append(f"{model} is not here: sizes with adapters are estimated by its name")
    limit, written = config.trainer.max_ckpts_to_keep, storage.checkpoints_written or 0
    if limit == OFF:
        notices.append("trainer.max_ckpts_to_keep=-1: no checkpoint is ever removed")
    elif written > limit:
        best = f" and the best by {config.trainer.best_ckpt_metric}" if keeps_best(config) else ""
        notices.append(
            f"the newest {limit}{best} of {written} checkpoints stay; trainer.max_ckpts_to_keep=-1 keeps all"
        )
    return tuple(notices)


def plan(
    config: RunConfig,
    num_rows: int | None,
    *,
    num_validation_rows: int | None = None,
    parameters: int | None = None,
    adapter_parameters: int | None = None,
    is_estimate: bool = False,
) -> Plan:
    """Work out the run.

    Args:
        config: the run file.
        num_rows: rows of the training data; None takes GSM8K's 7,473 where the file's name says so, else unknown.
        num_validation_rows: rows of the evaluation data, likewise (1,319).
        parameters: parameters of the policy, where known.
        adapter_parameters: parameters of its adapters, where it has any and they are known.
        is_estimate: whether those are estimated by the model's name.

    Raises:
        ConfigError: one batch needs more rows than there are.
    """
    rows = num_rows if num_rows is not None else _rows(config.data.train_data, GSM8K_TRAIN_ROWS)
    validation_rows = num_validation_rows
    if validation_rows is None:
        validation_rows = _rows(config.data.val_data, GSM8K_VALIDATION_ROWS)
    batch = _batch(config)
    length = _length(config, batch, rows=rows, validation_rows=validation_rows)
    storage = _storage(
        config, steps=length.steps, parameters=parameters, adapters=adapter_parameters, is_estimate=is_estimate
    )
    return Plan(
        ranks=config.trainer.placement.num_ranks,
        rollout_replicas=config.generator.num_inference_engines,
        gpus_per_engine=config.generator.gpus_per_engine,
        reward_replicas=config.reward.num_replicas,
        train_rows=rows,
        validation_rows=validation_rows,
        batch=batch,
        length=length,
        storage=storage,
        notices=_notices(config, rows=rows, storage=storage),
    )
