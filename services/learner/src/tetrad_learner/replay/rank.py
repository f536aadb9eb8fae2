"""One rank of a replay, started by torchrun: load, execute, answer.

usage: python -m tetrad_learner.replay.rank JOB ANSWER
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tetrad_config import RunConfig, load_resolved
from tetrad_learner.coordinator.orders import step_orders
from tetrad_learner.rank.compose import device_of_ranks, set_up_torch
from tetrad_learner.rank.evidence import read_evidence
from tetrad_learner.rank.options import trainer_options
from tetrad_learner.rank.shell import step_batch
from tetrad_learner.replay.job import Executed, Failure, Job, read_job, write
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.errors import NonFiniteError
from tetrad_trajectories.journal import read_step, step_path
from tetrad_weights.layout import Parameter, lay_out
from tetrad_weights.manifest import build
from tetrad_wire.messages.steps import ExecuteStep


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of a rank; torchrun sets RANK and WORLD_SIZE."""
    order, answer = (Path(argument) for argument in (sys.argv[1:] if argv is None else argv))
    job = read_job(order)
    config = load_resolved(Path(job.config))
    set_up_torch(config)
    device = device_of_ranks()
    options = trainer_options(config, device=device, num_steps=job.num_steps, steps_per_epoch=job.steps_per_epoch)
    trainer = Trainer.create(options)
    try:
        executed = execute(trainer, job, config)
    finally:
        trainer.close()
    if trainer.ranks.is_first:
        write(answer, executed)
    return 0


def execute(trainer: Trainer, job: Job, config: RunConfig) -> Executed:
    """Execute every step of the job and look at the last; collective."""
    if job.load:
        trainer.load(Path(job.load))
    epochs, metrics = config.trainer.update_epochs_per_batch, dict[str, float]()
    for step in job.steps:
        with trainer.watched() as seen:
            try:
                metrics = trainer.execute(step_batch(_order(job, step, trainer.ranks.rank, config), epochs)).metrics
            except NonFiniteError as error:
                return Executed(failure=_failure(error, trainer, module=seen.name or ""))
    return Executed(metrics=metrics, digest=_digest(trainer, config.generator.model_dtype.value))


def _order(job: Job, step: int, rank: int, config: RunConfig) -> ExecuteStep:
    """What this rank was given."""
    if job.dump and step == job.steps[-1]:
        return read_evidence(Path(job.dump)).orders[rank]
    sealed = read_step(step_path(Path(job.journal), step))
    world_size = int(os.environ["WORLD_SIZE"])
    return step_orders(sealed, config, lineage=sealed.lineage, world_size=world_size)[rank]


def _failure(error: NonFiniteError, trainer: Trainer, *, module: str) -> Failure:
    return Failure(
        step=error.step,
        error=str(error),
        loss=error.loss,
        gradient_norm=error.gradient_norm,
        module=module,
        tensors=tuple(trainer.strange_tensors()),
    )


def _digest(trainer: Trainer, dtype: str) -> str:
    """Of the weights in the engines' number format, as they would be published."""
    layout = lay_out(Parameter(shape.name, dtype, shape.shape) for shape in trainer.weight_shapes())
    buffer = np.zeros(layout.num_bytes, np.uint8) if trainer.ranks.is_first else None
    trainer.export_into(buffer, layout.tensors)
    return "" if buffer is None else build(layout, buffer).digest


if __name__ == "__main__":
    sys.exit(main())
