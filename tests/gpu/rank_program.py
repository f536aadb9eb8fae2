"""What the ranks of test_ranks.py do on as many GPUs as torchrun starts them on, results into a folder.

usage: rank_program.py TIED_MODEL UNTIED_MODEL OUT

The first of several ranks writes a checkpoint; one rank alone goes on from there, so it must come later. On a CPU
(`TETRAD_TEST_DEVICE=cpu`) the same runs over gloo.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numerics.trainer_builders import AStep, exported, last_gradient, options

from tetrad_learner.trainer.engine import Trainer
from tetrad_learner.trainer.options import AlgorithmOptions, ComputeDtype, LoraOptions, RowLayout

KL = AlgorithmOptions(use_kl_loss=True, kl_loss_coef=0.1, entropy_loss_coef=0.01)
# Nine samples, so that the ranks' shares differ.
NINE = AStep(num_groups=3, group_size=3, seed=3)
RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
WAYS: dict[str, dict[str, Any]] = {
    "float32": {},
    "adapters": {"lora": LoraOptions(rank=4)},
    "recomputed": {"gradient_checkpointing": True},
    "bfloat16": {"compute_dtype": ComputeDtype.BFLOAT16},
    "compiled": {
        "compute_dtype": ComputeDtype.BFLOAT16,
        "gradient_checkpointing": True,
        "use_torch_compile": True,
    },
}
"""How a gradient is computed."""
# Compiling takes half a minute a model.
CASES = tuple((kind, way) for way in WAYS for kind in ("tied", "untied") if (kind, way) != ("tied", "compiled"))


def a_trainer(model: Path, **changes: Any) -> Trainer:
    settings = {
        "algorithm": KL,
        "device": os.environ.get("TETRAD_TEST_DEVICE", "cuda"),
        "row_layout": RowLayout.PACKED,
        "micro_train_batch_size": 2,
        "collective_timeout_s": 60.0,
    }
    return Trainer.create(options(model, **settings | changes))


def gradient(model: Path, way: str, out: Path) -> None:
    """One optimizer step."""
    trainer = a_trainer(model, **WAYS[way])
    metrics = trainer.execute(NINE.share(rank=RANK, world_size=WORLD)).metrics
    record(out, f"gradient-{model.name}-{way}", last_gradient(trainer), metrics)


def idle_rank(model: Path, out: Path) -> None:
    """The first rank has every sample; the others only join the collectives."""
    trainer = a_trainer(model)
    everything = range(NINE.num_samples)
    metrics = trainer.execute(NINE.only(everything if RANK == 0 else range(0))).metrics
    record(out, "idle", last_gradient(trainer), metrics)


def checkpoint(model: Path, out: Path) -> None:
    """Several ranks: two steps, a checkpoint, a third step. One rank: the third step from that checkpoint."""
    trainer = a_trainer(model, compute_dtype=ComputeDtype.BFLOAT16)
    if WORLD > 1:
        for seed in range(2):
            trainer.execute(AStep(seed=seed, step=seed + 1).share(rank=RANK, world_size=WORLD))
        trainer.save(out / "checkpoint", step=2, lineage=0)
    else:
        trainer.load(out / "checkpoint")
    record(out, "at-checkpoint", exported(trainer), {})
    trainer.execute(AStep(seed=2, step=3).share(rank=RANK, world_size=WORLD))
    record(out, "after-checkpoint", exported(trainer), {})


def record(out: Path, name: str, array: np.ndarray, metrics: dict[str, float]) -> None:
    """Keep the first rank's view."""
    if RANK == 0:
        np.savez(out / f"{name}-{WORLD}.npz", array=array, **metrics)


def main() -> None:
    """Run everything."""
    torch.set_num_threads(1)
    tied, untied, out = (Path(argument) for argument in sys.argv[1:4])
    models = {"tied": tied, "untied": untied}
    for kind, way in CASES:
        gradient(models[kind], way, out)
    idle_rank(tied, out)
    checkpoint(untied, out)


if __name__ == "__main__":
    main()
