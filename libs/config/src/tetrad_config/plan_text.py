"""Plan text: a plan as lines that a person reads. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tetrad_config.gpu_use import Gpu, Held, Use
from tetrad_config.plan import Batch, Length, Plan, Storage
from tetrad_config.role_use import RoleUse

UNKNOWN: Final = "unknown"
_LABEL_WIDTH: Final = 24
_UNITS: Final = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _counted(value: int, noun: str) -> str:
    return f"{value:,} {noun}" + ("" if value == 1 else "s")


def size_text(value: int | None) -> str:
    """Bytes for a person: `3.2 GB`."""
    if value is None:
        return UNKNOWN
    size, unit = next(((size, unit) for size, unit in _UNITS if value >= size), (1, "B"))
    return f"{value / size:.1f} {unit}"


def _micro_batches(batch: Batch) -> str:
    if batch.micro_batch_tokens is not None:
        return f"as many as needed, of at most {batch.micro_batch_tokens:,} tokens each"
    return f"{_number(batch.micro_batches)} per mini-batch and rank, of {_number(batch.micro_batch_samples)} samples"


def _batch_rows(batch: Batch, ranks: int) -> list[tuple[str, str]]:
    mini_share = f"{batch.mini_batch_samples // ranks:,} per rank"
    return [
        ("samples per step", f"{batch.samples:,} = {batch.prompts:,} prompts x {batch.samples_per_prompt}"),
        ("", f"{batch.samples_per_rank:,} per rank; at most {batch.tokens:,} tokens in all"),
        ("mini-batches", f"{batch.mini_batches:,} per pass, of {batch.mini_batch_samples:,} samples, {mini_share}"),
        ("micro-batches", _micro_batches(batch)),
        ("optimizer steps", f"{batch.optimizer_steps:,} per training step"),
    ]


def _length_rows(length: Length) -> list[tuple[str, str]]:
    if length.epochs == 0:
        steps = "none: evaluation only"
    else:
        steps = f"{_number(length.steps_per_epoch)} per epoch, {length.epochs:,} epochs, {_number(length.steps)} in all"
    evaluations = f"{_number(length.evaluations)}, of {_number(length.samples_per_evaluation)} samples each"
    return [
        ("training steps", steps),
        ("in all", f"{_number(length.optimizer_steps)} optimizer steps, {_number(length.samples)} training samples"),
        ("evaluations", "none" if length.evaluations == 0 else evaluations),
    ]


def _parameters(storage: Storage) -> str:
    if storage.trained_parameters == storage.parameters:
        return _number(storage.parameters)
    about = "about " if storage.is_estimate else ""
    adapters = f"adapters of {about}{_number(storage.trained_parameters)}"
    return f"{_number(storage.parameters)}, and {adapters}, which are trained"


def _storage_rows(storage: Storage) -> list[tuple[str, str]]:
    written, kept = _number(storage.checkpoints_written), _number(storage.checkpoints_kept)
    return [
        ("parameters", _parameters(storage)),
        ("checkpoints", f"{written} written, {kept} kept, {size_text(storage.checkpoint_bytes)} each"),
        ("disk for checkpoints", f"{size_text(storage.disk_bytes)} at most"),
        (
            "memory of a rank",
            f"{size_text(storage.rank_bytes)} for weights, gradients and moments, activations not counted",
        ),
        ("memory of the host", f"{size_text(storage.copy_bytes)} while a checkpoint is written beside the training"),
    ]


def _gpu_rows(gpus: Sequence[Gpu]) -> list[tuple[str, str]]:
    return [
        (f"GPU {gpu.name}" if number == 0 else "", _use(use)) for gpu in gpus for number, use in enumerate(gpu.uses)
    ]


def _use(use: Use) -> str:
    held = ", ".join(f"{held.what} {size_text(held.num_bytes)}" for held in use.held)
    return f"{use.process}: {held}" + (f"; {use.note}" if use.note else "")


def _role_rows(roles: Sequence[RoleUse]) -> Iterator[tuple[str, str]]:
    for use in roles:
        each = f" (each of {use.num_processes})" if use.num_processes > 1 else ""
        parts = [_held("memory", use.memory), _held("shared memory", use.shared_memory), _held("disk", use.disk)]
        yield f"{use.role}{each}", "; ".join(part for part in (*parts, use.note) if part)


def _held(where: str, held: Sequence[Held]) -> str:
    return f"{where}: " + ", ".join(f"{one.what} {size_text(one.num_bytes)}" for one in held) if held else ""


def render(plan: Plan, gpus: Sequence[Gpu] = (), roles: Sequence[RoleUse] = ()) -> str:
    """Return the plan as aligned lines: the work, what each role uses, who uses which of the GPUs, notices last."""
    processes = (
        _counted(plan.ranks, "trainer rank"),
        _counted(plan.rollout_replicas, "rollout"),
        _counted(plan.reward_replicas, "reward replica"),
    )
    rows = [
        ("processes", ", ".join(processes)),
        ("rows", f"{_number(plan.train_rows)} for training, {_number(plan.validation_rows)} for evaluation"),
        *_batch_rows(plan.batch, plan.ranks),
        *_length_rows(plan.length),
        *_storage_rows(plan.storage),
        *_role_rows(roles),
        *_gpu_rows(gpus),
    ]
    lines = [f"{label:<{_LABEL_WIDTH}}{text}".rstrip() for label, text in rows]
    return "\n".join([*lines, *(f"note: {notice}" for notice in plan.notices)])
