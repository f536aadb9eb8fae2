"""One set of trainer ranks: started through torchrun where there are several, watched, killed as a whole.

Owns the process group. Whatever dies in it, all of it goes: a partly run step is void.
"""

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec

from tetrad_learner import torchrun
from tetrad_runtime.network import free_port
from tetrad_telemetry.logs import get_logger
from tetrad_transport import Listener, PeerFullError, PeerGoneError, PeerId
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.membership import Heartbeat, RanksOrder
from tetrad_wire.messages.steps import RankReady

log = get_logger(__name__)

# Loading a large model and opening the process group take their time.
START_TIMEOUT_S: Final = 900.0
# A rank says every second what it does, from a thread that its computing hardly keeps from running.
FROZEN_S: Final = 60.0
END_GRACE_S: Final = 8.0
# The next checkpoint and the end of the run wait for the writers of the former; a disk this slow is taken for dead.
WRITE_TIMEOUT_S: Final = 1800.0


@dataclass(slots=True)
class Doing:
    """What one rank has said of itself."""

    activity: str
    since: float
    """On our clock."""
    heard_at: float
    """When it said so."""


@dataclass(slots=True)
class RankSet:
    """The ranks of one attempt."""

    incarnation: Incarnation
    world_size: int
    process: asyncio.subprocess.Process
    """Of this host's part."""
    started_at: float
    ranks_per_host: int = 0
    """The first so many are on this host; 0 where all are."""
    order: RanksOrder | None = None
    """What the other hosts are to start; None where there are none."""
    peers: dict[int, PeerId] = field(default_factory=dict)
    pids: dict[int, int] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    """Training step whose weights each rank holds."""
    heard_at: float = 0.0
    is_busy: bool = False
    load: Path | None = None
    """The checkpoint that they were told to load; None is the initial model."""
    activities: dict[int, Doing] = field(default_factory=dict)
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
    def hosts(self) -> tuple[Incarnation, ...]:
        """Process starts of the other hosts that it runs on."""
        return self.order.hosts if self.order is not None else ()

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

    def note(self, rank: int, beat: Heartbeat, now: float) -> None:
        """Note what a rank says that it does."""
        self.activities[rank] = Doing(beat.activity, now - beat.activity_s, now)

    def forgive(self, gap: float) -> None:
        """Nothing was heard for so long for a reason of ours."""
        self.heard_at += gap
        for doing in self.activities.values():
            doing.heard_at += gap

    def fault(self, now: float, *, silence_s: float) -> str | None:
        """Why the set must be given up; None while it is well."""
        if self.process.returncode is not None:
            return f"the ranks ended with code {self.process.returncode}"
        if not self.is_complete and now - self.started_at > START_TIMEOUT_S:
            return f"{len(self.peers)} of {self.world_size} ranks were ready after {START_TIMEOUT_S:g} s"
        if self.is_complete and self.is_busy and now - self.heard_at > silence_s:
            silent_s = now - self.heard_at
            return f"no progress from the ranks for {silent_s:.0f} s; the limit is {silence_s:g} s; {self.waits(now)}"
        for rank, doing in self.activities.items():
            if self.is_complete and now - doing.heard_at > FROZEN_S:
                return f"rank {rank} has not been heard for {FROZEN_S:g} s: it is frozen, or its host is cut off"
        if self.writing_since is not None and now - self.writing_since > WRITE_TIMEOUT_S:
            return f"the checkpoint was not written within {WRITE_TIMEOUT_S:g} s"
        return None

    def waits(self, now: float) -> str:
        """Who does what, and for how long: those that have waited longest wait for the others."""
        doing = sorted(self.activities.items(), key=lambda item: item[1].since)
        said = [f"rank {rank}: {one.activity or 'no order'} for {now - one.since:.0f} s" for rank, one in doing]
        silent = [f"rank {rank}: nothing heard" for rank in range(self.world_size) if rank not in self.activities]
        return "; ".join([*said, *silent])

    @property
    def local_pids(self) -> Sequence[int]:
        """Of the ranks on this host."""
        return [pid for rank, pid in self.pids.items() if rank < (self.ranks_per_host or self.world_size)]

    async def end(self) -> None:
        """Ask the ranks to leave in order, with their shared memory; after a grace end them."""
        if self.is_complete and self.process.returncode is None:
            # Not torchrun, where it is there: it would call it a crash: it ends well once its ranks have.
            for pid in self.local_pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_GRACE_S):
                    await self.process.wait()
        await self.kill()

    async def kill(self) -> None:
        """End the whole process group and wait until it is gone."""
        await torchrun.kill(self.process)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """Where the ranks of a set run."""

    ranks_per_host: int
    hosts: tuple[Incarnation, ...] = ()
    """The others, in the order of nodes."""
    address: str = ""
    """By which they reach this host; empty where there are none."""

    @property
    def world_size(self) -> int:
        """Ranks on all hosts."""
        return self.ranks_per_host * (1 + len(self.hosts))


async def start_ranks(
    placing: Placing,
    *,
    num_steps: int,
    steps_per_epoch: int,
    load: Path | None,
    micro_batch_divisor: int = 1,
    run_dir: Path,
    environment: Mapping[str, str],
    clock: Callable[[], float],
) -> RankSet:
    """Start this host's ranks once no older ones are left; raise TimeoutError if an old one does not go.

    They begin from the checkpoint folder `load`, or from the initial model, and know how long the run is. Their
    micro-batches are as in the run file, divided. What the other hosts are to start is the set's `order`.
    """
    incarnation, order = Incarnation(secrets.token_hex(8)), None
    part = torchrun.Part(
        set_name=incarnation,
        num_ranks=placing.ranks_per_host,
        num_steps=num_steps,
        steps_per_epoch=steps_per_epoch,
        load=load,
        micro_batch_divisor=micro_batch_divisor,
    )
    if placing.hosts:
        order = _order(placing, part)
        node = torchrun.Node(rank=0, num_nodes=1 + len(placing.hosts), rendezvous=order.rendezvous)
        part = replace(part, node=node)
    process = await torchrun.start(part, run_dir=run_dir, environment=environment)
    log.info("ranks_started", world_size=placing.world_size, pid=process.pid, set=incarnation)
    return RankSet(
        incarnation,
        placing.world_size,
        process,
        clock(),
        ranks_per_host=placing.ranks_per_host,
        order=order,
        load=load,
    )


def _order(placing: Placing, part: torchrun.Part) -> RanksOrder:
    return RanksOrder(
        incarnation=Incarnation(part.set_name),
        hosts=placing.hosts,
        ranks_per_host=placing.ranks_per_host,
        rendezvous=f"{placing.address}:{free_port(placing.address)}",
        num_steps=part.num_steps,
        steps_per_epoch=part.steps_per_epoch,
        # Other hosts have other working directories.
        load=str(part.load.absolute()) if part.load else "",
        micro_batch_divisor=part.micro_batch_divisor,
    )
