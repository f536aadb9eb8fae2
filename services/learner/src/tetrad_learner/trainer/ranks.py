"""The ranks of one trainer: who this process is among them, and small collectives over plain numbers.

Owns the process group. Small facts travel as CPU tensors over gloo, also where gradients travel over NCCL, so that
agreeing on something never waits for a GPU. Must not know of models or batches.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from tetrad_learner.trainer.errors import RankDisagreementError

BACKENDS: Final = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
TORCHRUN_VARIABLES: Final = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """The trainer ranks, seen from one of them."""

    rank: int
    world_size: int
    device: torch.device
    mesh: DeviceMesh

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which reads the model, writes shared files and exports weights."""
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the elementwise sum over all ranks of a CPU tensor; collective."""
        total = values.clone()
        dist.all_reduce(total, op=dist.ReduceOp.SUM)
        return total

    def max(self, values: torch.Tensor) -> torch.Tensor:
        """Return the elementwise maximum over all ranks of a CPU tensor; collective."""
        top = values.clone()
        dist.all_reduce(top, op=dist.ReduceOp.MAX)
        return top

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        """Return the CPU tensors of all ranks end to end, in the order of ranks; collective. First axes may differ."""
        length_R = self.sum(torch.eye(self.world_size, dtype=torch.int64)[self.rank] * len(values))
        room = values.new_zeros((int(length_R.max()), *values.shape[1:]))
        room[: len(values)] = values
        everyone = [torch.empty_like(room) for _ in range(self.world_size)]
        dist.all_gather(everyone, room)
        return torch.cat([theirs[:length] for theirs, length in zip(everyone, length_R.tolist(), strict=True)])

    def barrier(self) -> None:
        """Wait for all ranks; collective."""
        self.sum(torch.zeros(1))

    def agree(self, digest: bytes, *, what: str) -> None:
        """Raise RankDisagreementError on every rank unless all pass the same 16 bytes; collective."""
        mine = torch.frombuffer(bytearray(digest), dtype=torch.int64)
        everyone = [torch.empty_like(mine) for _ in range(self.world_size)]
        dist.all_gather(everyone, mine)
        strange = [rank for rank, theirs in enumerate(everyone) if not torch.equal(theirs, everyone[0])]
        if strange:
            raise RankDisagreementError(f"ranks {strange} have another {what} than rank 0; refusing to compute")


def join(*, device: str, timeout_s: float) -> Ranks:
    """Join the process group that torchrun describes in RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT."""
    if device not in BACKENDS:
        raise ValueError(f"device is {device!r}; known are {', '.join(BACKENDS)}")
    here = torch.device(device)
    if device == "cuda":
        here = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(here)
    if not dist.is_initialized():
        check_launched(os.environ)
        dist.init_process_group(BACKENDS[device], timeout=timedelta(seconds=timeout_s))
    world_size = dist.get_world_size()
    mesh = init_device_mesh(device, (world_size,))
    return Ranks(rank=dist.get_rank(), world_size=world_size, device=here, mesh=mesh)


def check_launched(environment: Mapping[str, str]) -> None:
    """Raise RuntimeError, naming the launcher, where torchrun's variables are missing."""
    missing = [name for name in TORCHRUN_VARIABLES if name not in environment]
    if missing:
        raise RuntimeError(f"{', '.join(missing)} not set; start trainer ranks with python -m torch.distributed.run")


def leave() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()
