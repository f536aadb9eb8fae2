"""One host's part of a set of trainer ranks: a torchrun in a session of its own, killed as a whole.

Used by the coordinator for its own host and by `host` for the others. Owns the lock by which a new part waits for the
last process of an old one. Must not know who decided that the ranks should run.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tetrad_runtime.orphans import die_with_parent

OLD_SET_TIMEOUT_S: Final = 60.0
# What torchrun would tell a rank that is alone; it would load torch a second time to do so. Port 0 is any that is free.
ALONE: Final[Mapping[str, str]] = {
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "1",
    "LOCAL_WORLD_SIZE": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Which part of the set a host runs, and where all parts meet."""

    rank: int
    """0 is the coordinator's host."""
    num_nodes: int
    rendezvous: str
    """HOST:PORT, served by the torchrun of node 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The ranks of one host in one attempt."""

    set_name: str
    num_ranks: int
    """On this host."""
    num_steps: int
    steps_per_epoch: int
    load: Path | None
    """The checkpoint folder to begin from; None is the initial model."""
    node: Node | None = None
    """None where all ranks are on this host."""
    micro_batch_divisor: int = 1
    """By how much micro-batches are smaller than the run file says."""

    @property
    def is_alone(self) -> bool:
        """Whether the set is one rank."""
        return self.num_ranks == 1 and self.node is None


def command(part: Part, *, log_dir: Path) -> list[str]:
    """Return the command line: of torchrun, or of the rank itself where it is alone."""
    return [
        *(sys.executable, *(() if part.is_alone else _torchrun(part, log_dir)), "-m", "tetrad_learner.rank"),
        *("--set", part.set_name, "--num-steps", str(part.num_steps)),
        *("--steps-per-epoch", str(part.steps_per_epoch)),
        *(("--load", str(part.load)) if part.load else ()),
        *(("--micro-batch-divisor", str(part.micro_batch_divisor)) if part.micro_batch_divisor > 1 else ()),
    ]


async def start(part: Part, *, run_dir: Path, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start the part once no older one is left here; raise TimeoutError if an old one does not go."""
    await _wait_for_old_part(run_dir)
    return await asyncio.create_subprocess_exec(
        *command(part, log_dir=run_dir / "logs" / "torchrun"),
        env={**environment, **(ALONE if part.is_alone else {})},
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent(signal.SIGKILL),
    )


async def kill(process: asyncio.subprocess.Process) -> None:
    """End the whole process group and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def lock_path(run_dir: Path) -> Path:
    """The file that every living rank of this host holds a shared lock on."""
    return run_dir / "ranks.lock"


def _torchrun(part: Part, log_dir: Path) -> tuple[str, ...]:
    return (
        *("-m", "torch.distributed.run", *_meeting(part)),
        *(f"--nproc-per-node={part.num_ranks}", "--max-restarts=0"),
        # Its own default is a new folder below /tmp for each start, which a kill leaves there.
        f"--log-dir={log_dir}",
    )


def _meeting(part: Part) -> tuple[str, ...]:
    node = part.node
    if node is None:
        return ("--standalone", "--nnodes=1")
    # Static: node 0, where the store and the broadcaster are, must have rank 0. Its other kind numbers hosts by name.
    host, _, port = node.rendezvous.rpartition(":")
    return (
        f"--nnodes={node.num_nodes}",
        f"--node-rank={node.rank}",
        f"--rdzv-id={part.set_name}",
        *(f"--master-addr={host}", f"--master-port={port}"),
    )


async def _wait_for_old_part(run_dir: Path) -> None:
    descriptor = os.open(lock_path(run_dir), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        async with asyncio.timeout(OLD_SET_TIMEOUT_S):
            while not _try_lock(descriptor):  # noqa: ASYNC110 - a file lock raises no event
                await asyncio.sleep(0.05)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
