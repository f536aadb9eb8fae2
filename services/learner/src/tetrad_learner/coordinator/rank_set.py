"""One set of trainer ranks: started through torchrun where there are several, watched, killed as a whole.

Owns the process group. Whatever dies in it, all of it goes: a partly run step is void.
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from tetrad_runtime.orphans import die_with_parent
from tetrad_telemetry.logs import get_logger
from tetrad_transport import Listener, PeerFullError, PeerGoneError, PeerId
from tetrad_wire.messages.steps import RankReady

log = get_logger(__name__)

# Loading a large model and opening the process group take their time.
START_TIMEOUT_S: Final = 900.0
OLD_SET_TIMEOUT_S: Final = 60.0
END_GRACE_S: Final = 8.0
# The next checkpoint and the end of the run wait for the writers of the former; a disk this slow is taken for dead.
WRITE_TIMEOUT_S: Final = 1800.0

# What torchrun would tell a rank that is alone; it would load torch a second time to do so. Port 0 is any that is free.
ALONE: Final[Mapping[str, str]] = {
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "1",
    "LOCAL_WORLD_SIZE": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "0",
}


@dataclass(slots=True)
class RankSet:
    """The ranks of one attempt."""

    incarnation: str
    world_size: int
    process: asyncio.subprocess.Process
    started_at: float
    peers: dict[int, PeerId] = field(default_factory=dict)
    pids: dict[int, int] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    """Training step whose weights each rank holds."""
    heard_at: float = 0.0
    is_busy: bool = False
    load: Path | None = None
    """The checkpoint that they were told to load; None is the initial model."""
    writing_since: float | None = None
    """When they began to write a checkpoint beside their other work; None while they write none."""

    def welcome(self, peer: PeerId, ready: RankReady, now: float) -> bool:
        """Note a ready rank; return whether the set has just become complete."""
        was_complete = self.is_complete
        self.peers[ready.rank], self.pids[ready.rank] = peer, ready.pid
        self.steps[ready.rank] = ready.step
        self.heard_at = now
        return self.is_complete and not was_complete

    @property
    def is_complete(self) -> bool:
        """Whether all ranks are there."""
        return len(self.peers) == self.world_size

    def send(self, listener: Listener, bodies: Mapping[int, msgspec.Struct] | msgspec.Struct, now: float) -> bool:
        """Send to every rank, one body for all or one each; return whether all were taken."""
        self.heard_at, self.is_busy = now, True
        for rank, peer in self.peers.items():
            body = bodies[rank] if isinstance(bodies, Mapping) else bodies
            try:
                listener.send_nowait(peer, body)
            except (PeerGoneError, PeerFullError) as error:
                log.warning("rank_unreachable", rank=rank, error=str(error))
                return False
        return True

    def fault(self, now: float, *, silence_s: float) -> str | None:
        """Why the set must be given up; None while it is well."""
        if self.process.returncode is not None:
            return f"the ranks ended with code {self.process.returncode}"
        if not self.is_complete and now - self.started_at > START_TIMEOUT_S:
            return f"{len(self.peers)} of {self.world_size} ranks were ready after {START_TIMEOUT_S:g} s"
        if self.is_complete and self.is_busy and now - self.heard_at > silence_s:
            return f"no progress from the ranks for {now - self.heard_at:.0f} s; the limit is {silence_s:g} s"
        if self.writing_since is not None and now - self.writing_since > WRITE_TIMEOUT_S:
            return f"the checkpoint was not written within {WRITE_TIMEOUT_S:g} s"
        return None

    async def end(self) -> None:
        """Ask the ranks to leave in order, with their shared memory; after a grace end them."""
        if self.is_complete and self.process.returncode is None:
            # Not torchrun, where it is there: it would call it a crash: it ends well once its ranks have.
            for pid in self.pids.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_GRACE_S):
                    await self.process.wait()
        await self.kill()

    async def kill(self) -> None:
        """End the whole process group and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()


async def start_ranks(
    *,
    world_size: int,
    num_steps: int,
    steps_per_epoch: int,
    load: Path | None,
    run_dir: Path,
    environment: Mapping[str, str],
    clock: Callable[[], float],
) -> RankSet:
    """Start `world_size` ranks once no older set is left; raise TimeoutError if an old one does not go.

    They begin from the checkpoint folder `load`, or from the initial model, and know how long the run is.
    """
    await _wait_for_old_set(run_dir)
    incarnation = secrets.token_hex(8)
    command = [
        *(sys.executable, *(_torchrun(world_size, run_dir) if world_size > 1 else ()), "-m", "tetrad_learner.rank"),
        *("--set", incarnation, "--num-steps", str(num_steps), "--steps-per-epoch", str(steps_per_epoch)),
        *(("--load", str(load)) if load else ()),
    ]
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**environment, **(ALONE if world_size == 1 else {})},
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent(signal.SIGKILL),
    )
    log.info("ranks_started", world_size=world_size, pid=process.pid, set=incarnation)
    return RankSet(incarnation, world_size, process, clock(), load=load)


def _torchrun(world_size: int, run_dir: Path) -> tuple[str, ...]:
    return (
        *("-m", "torch.distributed.run", "--standalone", "--nnodes=1"),
        *(f"--nproc-per-node={world_size}", "--max-restarts=0"),
        # Its own default is a new folder below /tmp for each start, which a kill leaves there.
        f"--log-dir={run_dir / 'logs' / 'torchrun'}",
    )


def lock_path(run_dir: Path) -> Path:
    """The file that every living rank holds a shared lock on."""
    return run_dir / "ranks.lock"


async def _wait_for_old_set(run_dir: Path) -> None:
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
