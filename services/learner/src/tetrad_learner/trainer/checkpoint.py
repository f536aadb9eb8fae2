"""Checkpoints: the trainer's half, elastic in the number of ranks.

`FOLDER/trainer/` holds float32 master weights and moments (torch.distributed.checkpoint), each rank's random state,
and `progress.json`. Owns that format. Must not know of manifests, `latest` or renaming: it fills and reads the folder
that it is given.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from tetrad_learner.trainer.errors import CheckpointError
from tetrad_learner.trainer.optimizer import PolicyOptimizer
from tetrad_learner.trainer.options import CheckpointPosition
from tetrad_learner.trainer.policy import Policy, named_weights
from tetrad_learner.trainer.ranks import Ranks

TRAINER_FOLDER: Final = "trainer"
PROGRESS_FILE: Final = "progress.json"
FORMAT: Final = 1


def save_trainer_state(
    folder: Path, *, policy: Policy, optimizer: PolicyOptimizer, position: CheckpointPosition, ranks: Ranks
) -> None:
    """Write `folder/trainer`; collective."""
    target = folder / TRAINER_FOLDER
    if ranks.is_first:
        target.mkdir(parents=True, exist_ok=True)
        _write_synced(target / PROGRESS_FILE, json.dumps({"format": FORMAT, **asdict(position)}, indent=2) + "\n")
    ranks.barrier()
    state = _tensors(policy, optimizer) | _random_state(ranks)
    save(state, storage_writer=FileSystemWriter(target, sync_files=True))


def load_trainer_state(folder: Path, *, policy: Policy, optimizer: PolicyOptimizer, ranks: Ranks) -> CheckpointPosition:
    """Read `folder/trainer` into the live weights and moments; collective. Ranks may be more or fewer than at saving.

    Raises CheckpointError where the folder is none, of another format, or of another model.
    """
    source = folder / TRAINER_FOLDER
    position = _read_position(source / PROGRESS_FILE)
    reader = FileSystemReader(source)
    tensors = _tensors(policy, optimizer)
    stored = _check(reader, tensors)
    random = {name: tensor for name, tensor in _random_state(ranks).items() if name in stored}
    load(tensors | random, storage_reader=reader)
    _restore_random_state(random, ranks)
    optimizer.restore(steps_taken=position.optimizer_steps)
    return position


def _tensors(policy: Policy, optimizer: PolicyOptimizer) -> dict[str, Tensor]:
    """The live tensors: writing into them is restoring."""
    weights = {f"model.{name}": tensor.detach() for name, tensor in named_weights(policy)}
    return weights | {f"optimizer.{name}": moment for name, moment in optimizer.moments().items()}


def _check(reader: FileSystemReader, tensors: dict[str, Tensor]) -> set[str]:
    """Compare names and shapes before anything is overwritten; return all names that the checkpoint holds."""
    entries = reader.read_metadata().state_dict_metadata.items()
    stored = {name: tuple(entry.size) for name, entry in entries if isinstance(entry, TensorStorageMetadata)}
    here = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(here.keys() | stored.keys()):
        if not name.startswith("random.") and stored.get(name) != here.get(name):
            raise CheckpointError(f"{name} is {here.get(name)} in this model and {stored.get(name)} in {reader.path}")
    return set(stored)


def _random_state(ranks: Ranks) -> dict[str, Tensor]:
    state = {f"random.cpu.{ranks.rank}": torch.get_rng_state()}
    if ranks.device.type == "cuda":
        state[f"random.cuda.{ranks.rank}"] = torch.cuda.get_rng_state(ranks.device)
    return state


def _restore_random_state(state: dict[str, Tensor], ranks: Ranks) -> None:
    """A rank that was not there at saving keeps the state of its seed."""
    if f"random.cpu.{ranks.rank}" in state:
        torch.set_rng_state(state[f"random.cpu.{ranks.rank}"])
    if f"random.cuda.{ranks.rank}" in state:
        torch.cuda.set_rng_state(state[f"random.cuda.{ranks.rank}"], ranks.device)


def _read_position(path: Path) -> CheckpointPosition:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; {path.parent.parent} is no checkpoint of a trainer") from None
    if found.pop("format", None) != FORMAT:
        raise CheckpointError(f"{path} is of another format than {FORMAT}")
    return CheckpointPosition(**found)


def _write_synced(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
