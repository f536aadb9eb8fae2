"""Performs the core's effects: the thin shell between decisions and the world.

Owns the set of ranks, the open evaluation round and the samples on their way to the journal.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tetrad_config import RunConfig
from tetrad_learner.coordinator.answers import keep_answers
from tetrad_learner.coordinator.checkpoints import LEDGER, Checkpoint, Checkpoints
from tetrad_learner.coordinator.committer import Committer
from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import events as ev
from tetrad_learner.coordinator.core.keys import training
from tetrad_learner.coordinator.evaluation import EvaluationRound
from tetrad_learner.coordinator.figures import Stopwatch, batch_figures, drawn_figures
from tetrad_learner.coordinator.hosts import HostsMissingError, placed
from tetrad_learner.coordinator.loading import Loading
from tetrad_learner.coordinator.mailroom import Mailroom
from tetrad_learner.coordinator.memory_ledger import MemoryLedger
from tetrad_learner.coordinator.orders import step_orders
from tetrad_learner.coordinator.payloads import Payloads
from tetrad_learner.coordinator.rank_set import RankSet, start_ranks
from tetrad_learner.coordinator.registry import Registry
from tetrad_learner.coordinator.reporting import Reporting
from tetrad_learner.coordinator.reward_swaps import RewardSwaps
from tetrad_learner.coordinator.rows import mini_batch_ends
from tetrad_learner.coordinator.run_folder import RunFolder
from tetrad_learner.coordinator.sample_table import TableRow, rows_of
from tetrad_learner.coordinator.shaping import shaping_of
from tetrad_learner.coordinator.step_metrics import count_batch
from tetrad_learner.coordinator.store import Store
from tetrad_learner.coordinator.tasks import Tasks
from tetrad_telemetry.logs import get_logger
from tetrad_trajectories.errors import CheckpointError, CorruptJournalError
from tetrad_trajectories.journal import JournalStep, Place, places, prune, read_step, step_path, write_step
from tetrad_transport import Listener
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.leases import SampleFinished
from tetrad_wire.messages.membership import DeviceOrder, WantedWeights
from tetrad_wire.messages.steps import MoveState, PublishWeights, SaveCheckpoint

log = get_logger(__name__)

# A publish that found no broadcaster is tried again after this long.
NO_BROADCASTER_S: Final = 0.5

Raise = Callable[[ev.Event], None]
Spawn = Callable[[Coroutine[Any, Any, None]], None]


@dataclass(slots=True, kw_only=True)
class Performer:
    """Everything an effect may touch."""

    config: RunConfig
    folder: RunFolder
    store: Store
    registry: Registry
    tasks: Tasks
    mailroom: Mailroom
    listener: Listener
    checkpoints: Checkpoints
    loading: Loading
    reporting: Reporting
    memory: MemoryLedger
    rewards: RewardSwaps
    payloads: Payloads
    handle: Raise
    spawn: Spawn
    num_steps: int
    """Training steps of the whole run: where a learning rate that falls ends."""
    steps_per_epoch: int
    """Training steps of one pass over the data: how often a reference that moves does."""
    rank_environment: Mapping[str, str]
    """What every rank is told, whatever this process was told by flags."""
    on_end: Callable[[ef.ChangeRun], None]
    step_of: Callable[[PolicyVersion], int | None] = lambda _version: None
    """The training step that made a version."""
    is_leaving: bool = False
    """Whether this process is on its way out, and starts nothing more."""
    committer: Committer | None = None
    ranks: RankSet | None = None
    evaluation: EvaluationRound | None = None
    answers: list[SampleFinished] = field(default_factory=list)
    """Of the open round, where they are to be written out."""
    journaled: dict[int, JournalStep] = field(default_factory=dict)
    """Sealed steps still in memory; others are read back from the journal."""
    watches: dict[int, Stopwatch] = field(default_factory=dict)
    """By training step."""
    saving: Path | None = None
    """Temporary folder of the checkpoint that is being written."""
    saving_since: float = 0.0
    checkpoint_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while checkpoint folders are changed or chosen among."""

    @property
    def world_size(self) -> int:
        """Trainer ranks."""
        return self.config.trainer.placement.num_ranks

    @property
    def is_saving(self) -> bool:
        """Whether a checkpoint is being written or sealed."""
        return self.ranks is not None and (self.saving is not None or self.checkpoint_lock.locked())

    def perform(self, effects: list[ef.Effect]) -> None:
        """Perform effects in order; what takes time is spawned."""
        for effect in effects:
            self._perform(effect)
        self.mailroom.flush()

    def _perform(self, effect: ef.Effect) -> None:
        match effect:
            case ef.Grant():
                self.mailroom.grant(effect)
            case ef.Revoke():
                self.mailroom.revoke(effect)
            case ef.Acknowledge():
                self.mailroom.acknowledge(effect)
            case ef.Journal():
                self.spawn(self._journal(effect))
            case ef.Execute():
                self.spawn(self._execute(effect))
            case ef.Publish():
                self.spawn(self._publish(effect))
            case ef.Want():
                self._want(effect)
            case ef.SaveCheckpoint():
                self.spawn(self._save(effect))
            case ef.StartRanks():
                self.spawn(self._start_ranks(effect))
            case ef.EnterPhase():
                self._enter_phase(effect)
            case ef.MoveState():
                self._order_ranks(MoveState(place=effect.place))
            case ef.OpenEvaluation():
                self.evaluation, self.answers = EvaluationRound(effect.round, self.tasks.evaluation), []
            case ef.ReportEvaluation():
                self._report_evaluation(effect)
            case ef.ChangeRun():
                self._change_run(effect)
            case _:
                raise AssertionError(f"no way to perform {type(effect).__name__}")

    def watch(self, step: int) -> Stopwatch:
        """The stopwatch of a training step."""
        return self.watches.setdefault(step, Stopwatch())

    def now(self) -> float:
        """The coordinator's monotonic clock."""
        return asyncio.get_running_loop().time()

    # ---- batches

    async def _journal(self, effect: ef.Journal) -> None:
        self.watch(effect.step).mark("batched")
        samples = self.payloads.batch(effect.draws)
        order = places(samples, effect.multiplicities)
        per_mini_batch = self.config.trainer.policy_mini_batch_size
        step = JournalStep(
            run_id=self.registry.run,
            step=effect.step,
            lineage=effect.lineage,
            samples=samples,
            multiplicities=effect.multiplicities,
            mini_batch_ends=mini_batch_ends(order, prompts_per_mini_batch=per_mini_batch),
            events=(
                {
                    "kind": "sealed",
                    "step": effect.step,
                    "draws": list(effect.draws),
                    "multiplicities": list(effect.multiplicities),
                    "num_steps": self.num_steps,
                    "steps_per_epoch": self.steps_per_epoch,
                },
            ),
        )
        path = step_path(self.folder.journal, effect.step)
        journal_hash = await asyncio.to_thread(write_step, path, step)
        self.journaled[effect.step] = step
        self.payloads.forget(effect.draws)
        self._note_batch(effect.step, order)
        self.watch(effect.step).mark("sealed")
        self.handle(ev.StepJournaled(now=self.now(), step=effect.step, journal_hash=journal_hash))

    async def _execute(self, effect: ef.Execute) -> None:
        ranks = self.ranks
        if ranks is None:
            return
        step = self.journaled.pop(effect.step, None)
        if step is None:
            try:
                step = await asyncio.to_thread(read_step, step_path(self.folder.journal, effect.step))
            except (CorruptJournalError, OSError) as error:
                reason = f"step {effect.step} cannot be executed again: {error}"
                self.handle(ev.CannotGoOn(now=self.now(), reason=reason))
                return
            # Its figures went with the process that sealed it; where they were written, they are not written again.
            self._note_batch(effect.step, step.places)
        await self._note_drawn(effect.step)
        if self.reporting.tables.is_due(effect.step):
            self.reporting.tables.open(effect.step, lineage=effect.lineage, rows=self._table_rows(step))
        orders = await asyncio.to_thread(
            step_orders, step, self.config, lineage=effect.lineage, world_size=self.world_size
        )
        if not ranks.send(self.listener, dict(enumerate(orders)), self.now()):
            self.lose_ranks("a rank could not be reached")

    def _note_batch(self, step: int, order: Sequence[Place]) -> None:
        self.reporting.note(step, batch_figures(order))
        self.reporting.note_batch(step, count_batch(order, step=step, step_of=self.step_of))

    async def _note_drawn(self, step: int) -> None:
        if self.committer is not None:
            drawn = await self.committer.call(lambda: self.store.drawn_for(step))
            self.reporting.note(step, drawn_figures(drawn, batch_size=self.config.trainer.train_batch_size))

    def _table_rows(self, step: JournalStep) -> tuple[TableRow, ...]:
        return rows_of(
            [place.sample for place in step.places],
            prompt_of=lambda draw: self.tasks.prompt(training(draw)),
            shaping=shaping_of(self.config),
        )

    # ---- ranks

    async def _start_ranks(self, effect: ef.StartRanks) -> None:
        try:
            async with self.checkpoint_lock:
                start = await asyncio.to_thread(self.loading.choose, sealed=effect.sealed)
            placing = await placed(self.config, self.registry, self.listener.endpoint, is_over=lambda: self.is_leaving)
        except (CheckpointError, HostsMissingError) as error:
            self.handle(ev.CannotGoOn(now=self.now(), reason=str(error)))
            return
        if placing is None:
            return
        log.info("ranks_starting", attempt=effect.attempt, step=start.step, checkpoint=str(start.folder or "none"))
        self.ranks = await start_ranks(
            placing,
            num_steps=self.num_steps,
            steps_per_epoch=self.steps_per_epoch,
            load=start.folder,
            micro_batch_divisor=start.micro_batch_divisor,
            run_dir=self.folder.path,
            environment=self.rank_environment,
            clock=self.now,
        )
        self.mailroom.order_ranks(self.ranks.order)

    def lose_ranks(self, reason: str, *, shrink_by: int = 0) -> None:
        """Give the set of ranks up: kill what is left of it, then tell the core."""
        ranks, self.ranks = self.ranks, None
        if ranks is None:
            return
        if shrink_by:
            self.loading.shrink(shrink_by)
        log.error("ranks_lost", reason=reason, set=ranks.incarnation)
        self.mailroom.order_ranks(None)
        self.saving = None
        if not ranks.is_complete:
            self.loading.note(ranks.load, is_loaded=False)
        self.reporting.ranks_lost.inc()
        for rank in range(ranks.world_size):
            self.memory.forget(f"trainer-{rank}")
        self.spawn(self._bury(ranks, reason, is_remedied=shrink_by > 0))

    async def _bury(self, ranks: RankSet, reason: str, *, is_remedied: bool) -> None:
        await ranks.kill()
        self.handle(ev.RanksLost(now=self.now(), reason=reason, is_remedied=is_remedied))

    def _order_ranks(self, body: MoveState) -> None:
        if self.ranks is not None and not self.ranks.send(self.listener, body, self.now()):
            self.lose_ranks("a rank could not be reached")

    def _enter_phase(self, effect: ef.EnterPhase) -> None:
        self.memory.enter(effect.phase, self.now())
        self.registry.permit(DeviceOrder(turn=effect.turn, memory=effect.memory, engines=effect.engines))
        self.mailroom.tell_everyone()

    # ---- versions and checkpoints

    async def _publish(self, effect: ef.Publish) -> None:
        broadcaster = self.registry.broadcaster()
        ranks = self.ranks
        if broadcaster is None:
            await asyncio.sleep(NO_BROADCASTER_S)
            reason = "no broadcaster is registered"
            self.handle(ev.PublishFailed(now=self.now(), version=effect.version, reason=reason))
        elif ranks is not None:
            body = PublishWeights(
                version=effect.version,
                step=effect.step,
                broadcaster=broadcaster.hello.endpoint,
                broadcaster_key=broadcaster.key,
            )
            if not ranks.send(self.listener, body, self.now()):
                self.lose_ranks("a rank could not be reached")

    def _want(self, effect: ef.Want) -> None:
        self.registry.want(WantedWeights(version=effect.version, digest=effect.digest, step=effect.step))
        self.watch(effect.step + 1).mark("wanted")
        finished = self.watches.pop(effect.step, None)
        if finished is not None:
            finished.mark("published")
            self.reporting.report_step(effect.step, finished)
        self.reporting.version.set(effect.version)
        self.mailroom.tell_everyone()

    async def _save(self, effect: ef.SaveCheckpoint) -> None:
        """Put the ledger as it is at this step into a new folder, then have the ranks write theirs."""
        ranks, committer = self.ranks, self.committer
        if ranks is None or committer is None:
            return
        try:
            async with self.checkpoint_lock:
                folder = await asyncio.to_thread(self.checkpoints.begin, effect.step)
            await committer.call(lambda: self.store.backup(folder / LEDGER))
        except (OSError, sqlite3.Error) as error:
            self.fail_checkpoint(effect.step, f"{type(error).__name__}: {error}")
            return
        self.saving, self.saving_since = folder, self.now()
        if not ranks.send(self.listener, SaveCheckpoint(step=effect.step, folder=str(folder.absolute())), self.now()):
            self.lose_ranks("a rank could not be reached")

    def fail_checkpoint(self, step: int, reason: str) -> None:
        """It will not be: say so; the core decides what becomes of it."""
        self.saving = None
        log.error("checkpoint_failed", step=step, reason=reason)
        self.reporting.checkpoints_failed.inc()
        self.handle(ev.CheckpointFailed(now=self.now(), step=step, reason=reason))

    async def complete_checkpoint(self, step: int) -> None:
        """All ranks have written: seal the folder, remove what is no longer needed."""
        folder, self.saving = self.saving, None
        if folder is None:
            return
        try:
            done = await self._seal(step, folder)
        except OSError as error:
            self.fail_checkpoint(step, f"{type(error).__name__}: {error}")
            return
        log.info("checkpoint_written", step=step, folder=str(done.folder))
        self.reporting.checkpoint_time.set_to_current_time()
        self.reporting.checkpoint_step.set(step)
        self.reporting.steps.beside("checkpoint", seconds=self.now() - self.saving_since)
        self.handle(ev.CheckpointWritten(now=self.now(), step=step, folder=str(done.folder)))

    async def _seal(self, step: int, folder: Path) -> Checkpoint:
        facts: dict[str, object] = {"run": self.registry.run, "version": 1}
        async with self.checkpoint_lock:
            done = await asyncio.to_thread(self.checkpoints.complete, step, folder, facts)
            if self.config.journal.keep == "oldest_checkpoint":
                oldest = self.checkpoints.journal_begins_after()
                await asyncio.to_thread(prune, self.folder.journal, oldest_step=oldest + 1)
        return done

    async def _note_score(self, step: int, scores: Mapping[str, float]) -> None:
        """Let the best checkpoint be known by its evaluation."""
        metric = self.config.trainer.best_ckpt_metric
        if metric is None:
            return
        if metric not in scores:
            log.warning("best_checkpoint_unknown", step=step, metric=metric, there_are=sorted(scores))
            return
        async with self.checkpoint_lock:
            await asyncio.to_thread(self.checkpoints.note_score, step, scores[metric])

    # ---- evaluation and end

    def keep_answer(self, sample: SampleFinished) -> None:
        """Keep an evaluation's sample until its round is reported, where answers are asked for."""
        if self.config.trainer.dump_eval_results:
            self.answers.append(sample)

    def _report_evaluation(self, effect: ef.ReportEvaluation) -> None:
        if self.evaluation is not None:
            # A sample that came before the round was opened here counts for the core, but has no score.
            missing = max(effect.missing, self.evaluation.num_missing)
            scores = self.reporting.report_evaluation(self.evaluation, missing=missing)
            self.spawn(self._note_score(effect.round, scores))
            if self.answers:
                folder, samples = self.config.trainer.export_path, self.answers
                self.spawn(keep_answers(folder, step=effect.round, tasks=self.tasks, samples=samples, scores=scores))
        self.evaluation, self.answers = None, []
        self.handle(ev.EvaluationReported(now=self.now(), round=effect.round))

    def _change_run(self, effect: ef.ChangeRun) -> None:
        log.info("run_changed", state=effect.state.value, reason=effect.reason)
        self.registry.set_state(effect.state)
        self.mailroom.tell_everyone()
        if effect.state.is_over:
            self.on_end(effect)
