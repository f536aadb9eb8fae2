"""Three processes that are two ranks, then three: saved on two, resumed on three; and one that is killed.

usage: elastic_ranks.py MODEL OUT

All of them are forked from one that has imported torch, which takes longer than all that they do.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from numerics.trainer_builders import AStep, exported, options

from tetrad_learner.coordinator.rows import rows_of_ranks
from tetrad_learner.rank.shell import step_batch
from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.progress import Phase, Progress
from tetrad_trajectories.journal import read_step, step_path

TIMEOUT = timedelta(seconds=60)
STEPS = [AStep(seed=seed, step=seed + 1) for seed in range(3)]
MINI_BATCHES = 3
"""Of the journaled step that a rank is killed in."""


def as_ranks(world_size: int, rank: int, store: Path) -> None:
    """Join as one of so many."""
    dist.init_process_group(
        "gloo", store=dist.FileStore(str(store), world_size), rank=rank, world_size=world_size, timeout=TIMEOUT
    )


def save_on_two(rank: int, model: Path, out: Path) -> None:
    """Two steps, a checkpoint, and a third step for comparison."""
    as_ranks(2, rank, out / "two")
    trainer = Trainer.create(options(model))
    for step in STEPS[:2]:
        trainer.execute(step.share(rank=rank, world_size=2))
    trainer.save(out / "checkpoint", step=2, lineage=1)
    record(rank, out, "saved", trainer)
    trainer.execute(STEPS[2].share(rank=rank, world_size=2))
    record(rank, out, "straight", trainer)
    dist.destroy_process_group()


def resume_on_three(rank: int, model: Path, out: Path) -> None:
    """The third step, from the checkpoint of two ranks."""
    as_ranks(3, rank, out / "three")
    trainer = Trainer.create(options(model))
    position = trainer.load(out / "checkpoint")
    assert (position.step, position.optimizer_steps) == (2, 2)
    record(rank, out, "loaded-on-three", trainer)
    trainer.execute(STEPS[2].share(rank=rank, world_size=3))
    record(rank, out, "resumed-on-three", trainer)
    dist.destroy_process_group()


def killed_between_optimizer_steps(model: Path, out: Path) -> None:
    """Load a checkpoint, begin the journaled step, and die when its second mini-batch has begun."""
    dist.init_process_group("gloo", store=dist.FileStore(str(out / "victim"), 1), rank=0, world_size=1)
    trainer = Trainer.create(options(model))
    trainer.load(out / "before")

    def die(progress: Progress) -> None:
        if progress.phase is Phase.FORWARD_BACKWARD and trainer.optimizer_steps == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    replay(trainer, out, die)


def replay(trainer: Trainer, out: Path, on_progress: object = None) -> dict[str, float]:
    """Execute the journaled step on one rank."""
    step = read_step(step_path(out, 1))
    (order,) = rows_of_ranks(step, lineage=1, batch_hash=step.hash(), world_size=1)
    batch = step_batch(order, 1)
    if on_progress is None:
        return trainer.execute(batch).metrics
    return trainer.execute(batch, on_progress=on_progress).metrics  # type: ignore[arg-type]


def record(rank: int, out: Path, name: str, trainer: Trainer) -> None:
    """Keep the weights as rank 0 sees them; collective."""
    weights = exported(trainer)
    if rank == 0:
        np.save(out / f"{name}.npy", weights)


def ranks(rank: int, model: Path, out: Path) -> None:
    """What one of the three does."""
    if rank < 2:
        save_on_two(rank, model, out)
    resume_on_three(rank, model, out)


def forked(work: Callable[..., None], *arguments: object) -> int:
    """Do the work in a child; return its process id. No thread of torch has run in the parent."""
    if (child := os.fork()) != 0:
        return child
    try:
        work(*arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Do it all; write how each process ended."""
    torch.set_num_threads(1)
    model, out = (Path(argument) for argument in sys.argv[1:3])
    children = {f"rank-{rank}": forked(ranks, rank, model, out) for rank in range(3)}
    children["victim"] = forked(killed_between_optimizer_steps, model, out)
    for name, child in children.items():
        _pid, status = os.waitpid(child, 0)
        (out / f"{name}-status").write_text(str(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    main()
