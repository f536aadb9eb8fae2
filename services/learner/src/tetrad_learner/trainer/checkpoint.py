"""Checkpoints: the trainer's half, elastic in the number of ranks.

`FOLDER/trainer/` holds the trained weights in float32 (all of them, or adapters) and moments
(torch.distributed.checkpoint), each rank's random state, and `progress.json`. Owns that format. Saving is two steps: a
copy in memory while training waits, and its writing while training goes on. Must not know of manifests, `latest` or
renaming: it fills and reads the folder that it is given.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from tetrad_learner.trainer.errors import CheckpointError
from tetrad_learner.trainer.optimizer import PolicyOptimizer
from tetrad_learner.trainer.options import CheckpointPosition
from tetrad_learner.trainer.policy import Policy, named_trained
from tetrad_learner.trainer.ranks import Ranks

TRAINER_FOLDER: Final = "trainer"
PROGRESS_FILE: Final = "progress.json"
FORMAT: Final = 1


def live_tensors(policy: Policy, optimizer: PolicyOptimizer, *, prefix: str = "") -> dict[str, Tensor]:
    """The live weights and moments of one model under the names of a checkpoint: writing into them is restoring.

    A trainer with a second model adds the same with a prefix, such as `critic.`.
    """
    weights = {f"{prefix}model.{name}": tensor.detach() for name, tensor in named_trained(policy)}
    return weights | {f"{prefix}optimizer.{name}": moment for name, moment in optimizer.moments().items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerCopy:
    """A rank's part of `trainer/`, in memory that training does not touch."""

    tensors: dict[str, Tensor]
    position: CheckpointPosition

    def write_position(self, folder: Path) -> None:
        """Write `progress.json`; on one rank, from any thread."""
        target = folder / TRAINER_FOLDER
        target.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"format": FORMAT, **asdict(self.position)}, indent=2)
        _write_synced(target / PROGRESS_FILE, text + "\n")

    def write_tensors(self, folder: Path, group: dist.ProcessGroup) -> None:
        """Write the rest; collective over `group`, which nothing else may use meanwhile; from any thread."""
        writer = FileSystemWriter(folder / TRAINER_FOLDER, sync_files=True)
        save(self.tensors, storage_writer=writer, process_group=group)


def copy_trainer_state(tensors: Mapping[str, Tensor], position: CheckpointPosition, ranks: Ranks) -> TrainerCopy:
    """Copy this rank's shards and random state to the host's memory."""
    copies = {name: tensor.to("cpu", copy=True) for name, tensor in tensors.items()}
    return TrainerCopy(tensors=copies | _random_state(ranks), position=position)


def load_trainer_state(folder: Path, tensors: Mapping[str, Tensor], ranks: Ranks) -> CheckpointPosition:
    """Read `folder/trainer` into live tensors; collective. Ranks may be more or fewer than at saving.

    Raises CheckpointError where the folder is none, of another format, or of another model.
    """
    source = folder / TRAINER_FOLDER
    position = _read_position(source / PROGRESS_FILE)
    reader = FileSystemReader(source)
    stored = _check(reader, tensors)
    random = {name: tensor for name, tensor in _random_state(ranks).items() if name in stored}
    load({**tensors, **random}, storage_reader=reader)
    _restore_random_state(random, ranks)
    return position


def _check(reader: FileSystemReader, tensors: Mapping[str, Tensor]) -> set[str]:
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


def _restore_random_state(state: Mapping[str, Tensor], ranks: Ranks) -> None:
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
