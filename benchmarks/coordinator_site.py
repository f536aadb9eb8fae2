"""A real coordinator with fake peers in one process, over the in-memory transport; its own work is timed.

Everything is the coordinator's own code (core, ledger on disk, group commit, mail, journal), but for the ranks, which
are not started by torchrun.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from coordinator_fakes import FakeRank, FakeRollout, a_bystander, a_process_to_watch

from tetrad_config import RunConfig, load
from tetrad_config.section import OFF
from tetrad_learner.coordinator.checkpoints import Checkpoints
from tetrad_learner.coordinator.compose import core_config
from tetrad_learner.coordinator.core import Core
from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import events as ev
from tetrad_learner.coordinator.core.keys import GroupKey
from tetrad_learner.coordinator.core.outcome import Outcome
from tetrad_learner.coordinator.loading import Loading
from tetrad_learner.coordinator.mailroom import Answer, Mailroom
from tetrad_learner.coordinator.memory_ledger import MemoryLedger
from tetrad_learner.coordinator.payloads import Payloads
from tetrad_learner.coordinator.performer import Performer
from tetrad_learner.coordinator.rank_set import RankSet
from tetrad_learner.coordinator.registry import Registry
from tetrad_learner.coordinator.reporting import Reporting
from tetrad_learner.coordinator.reward_swaps import RewardSwapMetrics, RewardSwaps
from tetrad_learner.coordinator.run_folder import RunFolder, open_ledger
from tetrad_learner.coordinator.sample_table import SampleTables
from tetrad_learner.coordinator.service import Coordinator
from tetrad_learner.coordinator.tasks import Tasks
from tetrad_learner.coordinator.wait_watch import WaitMetrics, WaitWatch
from tetrad_telemetry.metrics import Metrics
from tetrad_trajectories.dataset import Dataset
from tetrad_transport import Delivery, PeerId
from tetrad_transport.memory import MemoryTransport
from tetrad_wire.ids import RunId
from tetrad_wire.messages.joining import RunDescribed
from tetrad_wire.messages.membership import Hello, Role

ENDPOINT: Final = "coordinator"
RANK_SET: Final = "fake-ranks"
CREDIT: Final = 2
"""Groups that a rollout takes at once."""
# All rollouts answer in the same turn of the loop; sockets would hold this for each peer on its own.
HIGH_WATER_MARK: Final = 1 << 18


@dataclass(slots=True)
class Clocks:
    """The coordinator's work on its event loop, in seconds of processor time: what else runs there does not count."""

    core_s: float = 0.0
    """Within the pure core, for work: for everything but membership."""
    shell_s: float = 0.0
    """Within the handling of messages and the performing of effects, for work; the core included."""
    beats: int = 0
    """Heartbeats of rollouts that led to nothing: they come by the second, not by the lease."""
    core_beats_s: float = 0.0
    """Within the core for those."""
    shell_beats_s: float = 0.0
    """Within the handling of those, answers included."""
    arrived: dict[Answer, float] = field(default_factory=dict)
    acknowledge_s: list[float] = field(default_factory=list)
    """From a sample's arrival at the coordinator to its acknowledgement, which is sent once it is on disk."""


class TimedCore(Core):
    """The core with a stopwatch."""

    clocks: Clocks

    def handle(self, event: ev.Event) -> Outcome:
        """As the core does."""
        began = time.thread_time()
        outcome = super().handle(event)
        seconds = time.thread_time() - began
        is_idle = not outcome.facts and not outcome.effects
        match event:
            case ev.EngineBeat() if is_idle:
                self.clocks.beats += 1
                self.clocks.core_beats_s += seconds
            case ev.EngineJoined() if is_idle:
                pass
            case _:
                self.clocks.core_s += seconds
        return outcome


class TimedMailroom(Mailroom):
    """The mailroom, with a note of when each sample came."""

    clocks: Clocks

    def expect_answer(self, peer: PeerId, answer: Answer) -> None:
        """As the mailroom does."""
        self.clocks.arrived[answer] = time.perf_counter()
        super().expect_answer(peer, answer)

    def acknowledge(self, effect: ef.Acknowledge) -> None:
        """As the mailroom does."""
        super().acknowledge(effect)
        arrived = self.clocks.arrived.pop((effect.key, effect.index, effect.token))
        self.clocks.acknowledge_s.append(time.perf_counter() - arrived)


class TimedCoordinator(Coordinator):
    """The coordinator with a stopwatch around each message."""

    clocks: Clocks

    def _dispatch(self, delivery: Delivery) -> None:
        began, beats = time.thread_time(), self.clocks.beats
        super()._dispatch(delivery)
        seconds = time.thread_time() - began
        if self.clocks.beats != beats:
            self.clocks.shell_beats_s += seconds
        elif not isinstance(delivery.message.body, Hello):
            self.clocks.shell_s += seconds


@dataclass(slots=True, kw_only=True)
class SitePerformer(Performer):
    """The performer with a stopwatch, and with ranks that need no torch."""

    clocks: Clocks
    transport: MemoryTransport
    rank: asyncio.Task[None] | None = None

    def perform(self, effects: list[ef.Effect]) -> None:
        """As the performer does."""
        began = time.thread_time()
        Performer.perform(self, effects)
        self.clocks.shell_s += time.thread_time() - began

    async def _start_ranks(self, _effect: ef.StartRanks) -> None:
        process = await a_process_to_watch()
        self.ranks = RankSet(RANK_SET, 1, process, self.now())
        # The coordinator ends its ranks by their process ids: ours must not be among them.
        connection = self.transport.connect(ENDPOINT, name="trainer-0")
        rank = FakeRank(connection, set_name=RANK_SET, pid=process.pid)
        self.rank = asyncio.create_task(rank.run(), name="fake-rank")


class Site:
    """Use as `async with Site.opened(…) as site`; then `await site.settle(n)`."""

    def __init__(self, coordinator: TimedCoordinator, performer: SitePerformer, clocks: Clocks) -> None:
        self.coordinator = coordinator
        self.performer = performer
        self.clocks = clocks
        self._settled = 0
        self._wanted = 0
        self._reached = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls, folder: Path, *, num_replicas: int, batch_size: int, group_size: int, num_steps: int
    ) -> AsyncIterator["Site"]:
        """Everything registered and the first version published, nothing leased yet."""
        config = a_config(folder, batch_size=batch_size, group_size=group_size, num_steps=num_steps)
        transport = MemoryTransport(high_water_mark=HIGH_WATER_MARK)
        site = _compose(cls, config, transport, num_steps=num_steps)
        drain = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(site.coordinator.run(drain))
            members = [
                a_bystander(transport.connect(ENDPOINT, name=role), role, f"{role}-0")
                for role in (Role.REWARD, Role.BROADCASTER)
            ]
            members += [
                FakeRollout(
                    transport.connect(ENDPOINT, name=f"rollout-{n}"),
                    name=f"rollout-{n}",
                    credit=CREDIT,
                    on_settled=site.count,
                ).member
                for n in range(num_replicas)
            ]
            peers = [tasks.create_task(member.run()) for member in members]
            yield site
            drain.set()
            await asyncio.wait({running})
            for peer in (*peers, site.performer.rank):
                if peer is not None:
                    peer.cancel()
        transport.close()
        site.performer.store.close()

    def count(self, num_samples: int) -> None:
        """Note acknowledgements that reached a rollout."""
        self._settled += num_samples
        if self._settled >= self._wanted:
            self._reached.set()

    async def settle(self, num_samples: int, *, timeout_s: float) -> None:
        """Wait until so many samples in all are acknowledged; raise TimeoutError otherwise."""
        self._wanted = num_samples
        if self._settled < num_samples:
            self._reached.clear()
            async with asyncio.timeout(timeout_s):
                await self._reached.wait()


def a_config(folder: Path, *, batch_size: int, group_size: int, num_steps: int) -> RunConfig:
    """A run of two-digit sums; each row of its data is drawn once in an epoch."""
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps(_row(n)) + "\n" for n in range(batch_size)), encoding="utf-8")
    overrides = [
        "+experiment=cpu",
        f"data.train_data=[{rows}]",
        "data.val_data=[]",
        f"trainer.run_dir={folder / 'run'}",
        f"trainer.epochs={num_steps}",
        f"trainer.train_batch_size={batch_size}",
        f"trainer.policy_mini_batch_size={batch_size}",
        "trainer.eval_before_train=false",
        "trainer.eval_interval=-1",
        "trainer.ckpt_interval=-1",
        f"generator.n_samples_per_prompt={group_size}",
        "environment.env_class=arithmetic",
    ]
    return load(overrides, environ={}).config


def _row(number: int) -> dict[str, object]:
    a, b = divmod(number, 100)
    spec = {"method": "rule", "ground_truth": str(a + b)}
    return {"prompt": [{"role": "user", "content": f"{a}+{b}="}], "env_class": "arithmetic", "reward_spec": spec}


def _compose(cls: type[Site], config: RunConfig, transport: MemoryTransport, *, num_steps: int) -> Site:
    """The coordinator's composition, with stopwatches."""
    clocks = Clocks()
    folder = RunFolder(Path(config.trainer.run_dir))
    folder.path.mkdir(parents=True)
    checkpoints = Checkpoints(Path(config.trainer.ckpt_path), max_kept=1)
    store = open_ledger(folder, config, checkpoints)
    listener = transport.listen(ENDPOINT)
    listener.stamp.run = run = RunId(store.meta("run") or "")
    listener.stamp.epoch = epoch = store.begin_epoch()
    registry = Registry(run)
    tasks = Tasks(config, Dataset.read(config.data.train_data), [])
    about = RunDescribed(run=run, name="benchmark", config="")
    mailroom = TimedMailroom(listener, registry, tasks, secret=store.meta("secret") or "", about=about)
    mailroom.clocks = clocks
    metrics = Metrics("learner", version="0")
    samples_per_step = config.trainer.train_batch_size * config.generator.n_samples_per_prompt
    performer = SitePerformer(
        config=config,
        folder=folder,
        store=store,
        registry=registry,
        tasks=tasks,
        mailroom=mailroom,
        listener=listener,
        checkpoints=checkpoints,
        loading=Loading(checkpoints=checkpoints, journal=folder.journal, run=run, origin=None),
        reporting=Reporting(
            metrics,
            [],
            samples_per_step=samples_per_step,
            steps_per_epoch=1,
            tables=SampleTables(interval=OFF),
        ),
        memory=MemoryLedger(metrics),
        rewards=RewardSwaps(RewardSwapMetrics(metrics), registry, folder.path),
        payloads=Payloads(),
        handle=lambda _event: None,
        spawn=lambda _work: None,
        num_steps=num_steps,
        steps_per_epoch=num_steps,
        rank_environment={},
        on_end=lambda _change: None,
        clocks=clocks,
        transport=transport,
    )

    def grader_of(key: GroupKey, pinned: str) -> str | None:
        return registry.grader_version(tasks.prompt(key).env_class, pinned=pinned)

    core = TimedCore(core_config(config, num_steps=num_steps), epoch=epoch, grader_of=grader_of)
    core.clocks = clocks
    waits = WaitWatch(core, registry, WaitMetrics(metrics), ranks=lambda: performer.ranks)
    coordinator = TimedCoordinator(performer, core, waits)
    coordinator.clocks = clocks
    return cls(coordinator, performer, clocks)
