"""The core: one place where an event becomes facts and effects.

Every event first changes what it is about, then `_advance` does whatever has become possible.
"""

from collections.abc import Sequence

from tetrad_learner.coordinator.core import events as ev
from tetrad_learner.coordinator.core import sampling, saving
from tetrad_learner.coordinator.core.config import CoreConfig
from tetrad_learner.coordinator.core.device_lease import DeviceLease
from tetrad_learner.coordinator.core.device_need import need_of
from tetrad_learner.coordinator.core.drops import DropAccount
from tetrad_learner.coordinator.core.effects import (
    Acknowledge,
    ChangeRun,
    Execute,
    Grant,
    OpenEvaluation,
    ReportEvaluation,
    Revoke,
    SaveCheckpoint,
    StartRanks,
)
from tetrad_learner.coordinator.core.engines import EngineBook
from tetrad_learner.coordinator.core.facts import EvaluationClosed, RunChanged, StepMarkedPoisoned
from tetrad_learner.coordinator.core.groups import Group, GroupBook, Slot
from tetrad_learner.coordinator.core.judging import judge_unknown
from tetrad_learner.coordinator.core.keys import GraderLookup, training
from tetrad_learner.coordinator.core.leases import Lease, LeaseBook
from tetrad_learner.coordinator.core.losses import RankLosses
from tetrad_learner.coordinator.core.outcome import Outcome
from tetrad_learner.coordinator.core.patience import Patience
from tetrad_learner.coordinator.core.rounds import RoundBook
from tetrad_learner.coordinator.core.steps import StepBook
from tetrad_learner.coordinator.core.tables import RUN, DropReason, LeaseState, SlotState, follow
from tetrad_learner.coordinator.core.versions import Version, VersionBook
from tetrad_wire.ids import Incarnation, PolicyVersion, Token
from tetrad_wire.messages.leases import Disposition, FailureKind, Lane
from tetrad_wire.messages.membership import RunState


class Core:
    """Ledger, leases and versions of one run, as a pure state machine."""

    def __init__(
        self,
        config: CoreConfig,
        *,
        epoch: int,
        grader_of: GraderLookup,
        evaluation_sizes: Sequence[int] = (),
    ) -> None:
        self.config = config
        self.out = Outcome()
        self.groups = GroupBook(self.out)
        self.leases = LeaseBook(self.out, epoch)
        self.engines = EngineBook(demand=(config.max_staleness + 1) * config.batch_size)
        self.steps = StepBook(self.out)
        self.versions = VersionBook(self.out)
        self.device = DeviceLease(self.out, is_shared=config.is_colocated, timeout_s=config.stall_timeout_s)
        self.state = RunState.STARTING
        self.rounds = RoundBook(config, tuple(evaluation_sizes))
        self.poisoned: set[int] = set()
        self.grader_of = grader_of
        self._is_stopping = False
        self.drops = DropAccount(config)
        self._sealing = sampling.Batch()
        self._heard_at: float | None = None
        self._patience = Patience(config)
        self._num_starts = 0
        self._losses = RankLosses(config)
        self._saves = saving.SaveAttempts()
        self._are_ranks_starting = False

    def handle(self, event: ev.Event) -> Outcome:
        """Take one event; return its facts and effects, in order."""
        if not self.state.is_over:
            self._forgive_own_gap(event.now)
            self._apply(event)
            self._advance(event.now)
        return self.out.drain()

    def begin_again(self, state: RunState) -> None:
        """The ledger knows an earlier coordinator that left the run in `state`."""
        if state is not RunState.STARTING:
            self.out.record(RunChanged(state=RunState.STARTING, reason="the coordinator has started again"))
        # A stop that was under way goes on; a run that had ended may have been given more steps.
        self._is_stopping = state is RunState.DRAINING and self.steps.sealed < self.config.num_steps
        # An earlier coordinator may have been told to keep what this one filters.
        for group in self.groups.complete():
            self._filter(group)

    # ---- events

    def _forgive_own_gap(self, now: float) -> None:
        """Nobody may be blamed for the time that we were not listening; ticks keep the gaps short otherwise."""
        gap = now - self._heard_at if self._heard_at is not None else 0.0
        self._heard_at = now
        if gap > self.config.liveness_s / 2:
            seconds = gap + self.config.liveness_s
            self.leases.extend(seconds)
            self.engines.extend(seconds)
            self.rounds.deadline += seconds
            self.device.extend(seconds)
            self._patience.since = now

    def _apply(self, event: ev.Event) -> None:
        match event:
            case ev.SampleArrived():
                self._take_sample(event)
            case ev.Ticked():
                self._tick(event.now)
            case ev.EngineJoined():
                held = len(self.leases.of_engine(event.incarnation))
                self.engines.join(event.incarnation, credit=event.credit, num_leases=held, now=event.now)
                self.device.admit(event.incarnation, event.process)
            case ev.EngineBeat():
                self._hear(event)
            case ev.EngineLeft():
                self._lose_engine(event.incarnation, "left", event.now)
            case ev.EngineGone() | ev.RanksMoved():
                self.device.take(event)
            case ev.LeaseGivenBack():
                self._take_back(event)
            case ev.LeasesProgressed():
                for token, progress in event.progress.items():
                    self.leases.renew(token, progress, event.now)
            case ev.RanksReady():
                self._are_ranks_starting = False
                self.steps.open_lineage(event.step)
                self.versions.publishing = None
                self.device.start_ranks()
            case ev.RanksLost():
                self._lose_ranks(event)
            case ev.StepJournaled():
                self._seal_journaled(event)
            case ev.StepDone():
                self._finish_step(event)
            case ev.StepPoisoned():
                self._poison(event)
            case ev.VersionOut():
                self.versions.came_out(event.version, event.digest, event.now)
            case ev.PublishFailed():
                self._retry_publish(event)
            case ev.BroadcasterHolds():
                self._check_broadcaster(event)
            case ev.CheckpointCopied() | ev.CheckpointWritten() | ev.CheckpointFailed():
                if event.step == self.steps.saving:
                    self._follow_save(event)
            case ev.CannotGoOn():
                self._change_run(RunState.FAILED, event.reason)
            case ev.EvaluationReported():
                self._close_round(event.round)
            case ev.StopAsked():
                self._stop(event.reason)
            case _:
                raise AssertionError(f"no rule for {type(event).__name__}")

    def _finish_step(self, event: ev.StepDone) -> None:
        if (event.step, event.lineage) == (self.steps.executing, self.steps.lineage):
            self.steps.finish(event.step)
            if event.step > self.steps.replay_until:
                self._losses.forget()

    def _poison(self, event: ev.StepPoisoned) -> None:
        if (event.step, event.lineage) == (self.steps.executing, self.steps.lineage):
            self.poisoned.add(event.step)
            self.out.record(StepMarkedPoisoned(step=event.step))
            self._change_run(RunState.FAILED, f"step {event.step} is poisoned: {event.reason}")

    def _follow_save(self, event: ev.CheckpointCopied | ev.CheckpointWritten | ev.CheckpointFailed) -> None:
        match event:
            case ev.CheckpointCopied():
                self.steps.note_copied(event.step)
            case ev.CheckpointWritten():
                self.steps.cover(event.step, event.folder)
                self._losses.forget()
                self._saves.succeed()
            case ev.CheckpointFailed():
                self.steps.end_saving()
                self._saves.wait(event.now)
                self._fail_save(event.reason)

    def _fail_save(self, reason: str) -> None:
        failed = self._saves.fail()
        if failed >= self.config.max_save_attempts:
            self._change_run(RunState.FAILED, f"{failed} checkpoints in a row could not be written: {reason}")

    def _take_sample(self, event: ev.SampleArrived) -> None:
        group = self.groups.groups.get(event.key)
        disposition, reason = self._judge(event, group)
        if disposition is Disposition.ACCEPTED and group is not None:
            self.groups.fill(group, event)
            self.leases.note_sample(event.token, event.now)
            self._finish_lease(group)
            self._filter(group)
        elif disposition is Disposition.REFUSED and group is not None:
            self._release(event.token, LeaseState.REVOKED, reason, event.now)
        self.out.do(
            Acknowledge(key=event.key, index=event.index, token=event.token, disposition=disposition, reason=reason)
        )

    def _judge(self, event: ev.SampleArrived, group: Group | None) -> tuple[Disposition, str]:
        if group is None:
            return judge_unknown(event.key, cursor=self.groups.cursor)
        if not 0 <= event.index < len(group.slots):
            return Disposition.REFUSED, f"index {event.index} of a group of {len(group.slots)}"
        slot = group.slots[event.index]
        if slot.state is not SlotState.EMPTY:
            self._check_equal(slot, event)
            return Disposition.DUPLICATE, ""
        if group.grader_version and event.grader_version != group.grader_version:
            return Disposition.REFUSED, f"graded by {event.grader_version}, pinned is {group.grader_version}"
        if not self._is_admissible(event):
            return Disposition.REFUSED, f"policy versions {list(event.versions)} are too old"
        return Disposition.ACCEPTED, ""

    def _check_equal(self, slot: Slot, event: ev.SampleArrived) -> None:
        is_same_work = self.versions.contents(slot.versions) == self.versions.contents(event.versions)
        if self.config.is_deterministic and slot.digest and is_same_work and slot.digest != event.digest:
            self._change_run(
                RunState.FAILED,
                f"draw {event.key.draw} sample {event.index} came out differently the second time: "
                "the engine is not deterministic",
            )

    def _is_admissible(self, event: ev.SampleArrived) -> bool:
        wanted = self.versions.wanted
        if wanted is None:
            return False
        if event.key.lane is Lane.EVAL or self.config.max_staleness == 0:
            return all(self.versions.is_same(version, wanted) for version in event.versions)
        return all(self._is_recent(version, self.steps.sealed + 1) for version in event.versions)

    def _is_recent(self, version: PolicyVersion, step: int) -> bool:
        """Whether a published version is few enough steps behind to serve `step`."""
        made = self.versions.step_of(version)
        return made is not None and step - 1 - made <= self.config.max_staleness

    def _finish_lease(self, group: Group) -> None:
        if group.is_complete and group.token is not None:
            self._end_lease(group.token, LeaseState.DONE, "")

    def _tick(self, now: float) -> None:
        for engine in self.engines.silent(now, self.config.liveness_s):
            self._lose_engine(engine.incarnation, f"silent for {now - engine.heard_at:.1f} s", now)
        self._expire_leases(now)
        self._watch_engines(now)

    def _expire_leases(self, now: float) -> None:
        late = self.leases.expired(
            now,
            progress_timeout_s=self.config.progress_timeout_s,
            hard_timeout_s=self.config.hard_timeout_s,
        )
        for lease in late:
            self._release(lease.token, LeaseState.EXPIRED, "no progress in time", now)

    def _watch_engines(self, now: float) -> None:
        wanted = self.versions.wanted
        # While the learner has the GPUs engines serve nobody; a run that gives up on them waits for its checkpoint.
        is_lent = not self.device.may_grant and not self.is_giving_up
        is_served = wanted is None or is_lent or bool(self.engines.certified(wanted.digest))
        if wanted is None or is_served or not self._has_work() or self._is_reloading():
            change = self._patience.renew(now, state=self.state)
        else:
            is_all_saved = saving.is_all_saved(self.steps)
            change = self._patience.judge(now, state=self.state, version=wanted.number, is_all_saved=is_all_saved)
        if change is not None:
            self._change_run(*change)

    def _is_reloading(self) -> bool:
        """Whether the wanted weights are those of an earlier set of ranks: no engine can get them anew."""
        wanted, steps = self.versions.wanted, self.steps
        return wanted is not None and (not steps.are_ranks_ready or wanted.lineage != steps.lineage)

    def _has_work(self) -> bool:
        return self.rounds.is_open or self.groups.num_open > 0 or self._may_draw()

    def _hear(self, event: ev.EngineBeat) -> None:
        self.device.hear(event.incarnation, event.device)
        if (engine := self.engines.engines.get(event.incarnation)) is None:
            return
        self.engines.hear(engine, certificate=event.certificate, is_draining=event.is_draining, now=event.now)
        engine.weights = event.weights
        for token, progress in event.progress.items():
            self.leases.renew(token, progress, event.now)
        self.leases.note_grading(event.progress, event.grading)
        for token in self.leases.ended(event.progress, engine=engine.incarnation):
            self.out.do(Revoke(engine=engine.incarnation, token=token, reason="the lease has ended"))

    def _lose_engine(self, incarnation: Incarnation, reason: str, now: float) -> None:
        for lease in self.leases.of_engine(incarnation):
            self._release(lease.token, LeaseState.EXPIRED, f"engine {reason}", now)
        self.engines.leave(incarnation)

    def _take_back(self, event: ev.LeaseGivenBack) -> None:
        if (lease := self.leases.leases.get(event.token)) is None:
            return
        group = self.groups.groups[lease.key]
        if event.kind is FailureKind.DATA:
            group.data_failures += 1
            self._end_lease(event.token, LeaseState.RETURNED, event.reason)
            if group.data_failures >= self.config.max_data_attempts:
                self._give_up(group, event.reason)
        else:
            self._release(event.token, LeaseState.RETURNED, event.reason, event.now)

    def _release(self, token: Token, state: LeaseState, reason: str, now: float) -> None:
        """End a lease through no fault of the prompt: the group goes to another engine after a pause."""
        if (lease := self._end_lease(token, state, reason)) is None:
            return
        group = self.groups.groups[lease.key]
        group.postpone(avoiding=lease.engine, now=now)
        if state is not LeaseState.RETURNED:
            self.out.do(Revoke(engine=lease.engine, token=token, reason=reason))
        if group.infra_failures >= self.config.max_infra_attempts:
            self._give_up(group, f"{group.infra_failures} attempts failed, the last: {reason}")

    def _end_lease(self, token: Token, state: LeaseState, reason: str) -> Lease | None:
        if (lease := self.leases.end(token, state, reason)) is None:
            return None
        group = self.groups.groups.get(lease.key)
        if group is not None and group.token == token:
            self.groups.release(group)
        self.engines.give_back(lease.engine)
        return lease

    def _give_up(self, group: Group, detail: str) -> None:
        if group.key.lane is Lane.EVAL or group.num_filled >= self.config.trainable_size:
            self.groups.give_up_missing(group, detail)
            self._filter(group)
        else:
            self._drop(DropReason.GROUP_INCOMPLETE, detail, group)

    def _filter(self, group: Group) -> None:
        if not self.state.is_over and sampling.is_unwanted(group, self.config):
            self._drop(DropReason.FILTERED, "all rewards are equal", group)

    def _drop(self, reason: DropReason, detail: str, *groups: Group) -> None:
        for group in groups:
            if group.token is not None:
                lease = self._end_lease(group.token, LeaseState.REVOKED, reason.value)
                if lease is not None:
                    self.out.do(Revoke(engine=lease.engine, token=lease.token, reason=reason.value))
            self.groups.drop(group, reason, detail)
            self.drops.count(reason, detail)
        if excess := self.drops.excess(reason, detail, sealed=self.steps.sealed):
            self._change_run(RunState.FAILED, excess)

    def _lose_ranks(self, event: ev.RanksLost) -> None:
        step, reason = self.steps.executing, event.reason
        self._are_ranks_starting = False
        if self.steps.saving is not None:
            self._fail_save(reason)
        self.steps.lose_ranks()
        self.device.lose_ranks()
        self.versions.publishing = None
        if event.is_remedied:
            self.steps.forgive(step)
        elif excess := self._losses.excess(reason, step=step, attempts=self.steps.attempts):
            self._change_run(RunState.FAILED, excess)

    def _seal_journaled(self, event: ev.StepJournaled) -> None:
        if event.step != self.steps.journaling:
            return
        batch, self._sealing = self._sealing, sampling.Batch()
        # Not before: a coordinator that finds no seal must find the same groups, and deal the same places.
        self._drop(DropReason.REPLACED, f"copies take its place in step {event.step}", *batch.replaced)
        self.groups.seal(batch.groups)
        self.steps.seal(batch.draws, batch.multiplicities, event.journal_hash)
        self.drops.clear()

    def _retry_publish(self, event: ev.PublishFailed) -> None:
        num_failures = self.versions.fail(event.version, event.now)
        if num_failures >= self.config.max_publish_attempts:
            reason = f"version {event.version} could not be published in {num_failures} attempts: {event.reason}"
            self._change_run(RunState.FAILED, reason)

    def _check_broadcaster(self, event: ev.BroadcasterHolds) -> None:
        may_publish = self._are_ranks_free and self.device.may_publish
        book, steps = self.versions, self.steps
        book.note_held(event.versions)
        if may_publish and book.is_seed_due(
            event.now, is_fresh=event.is_fresh, step=steps.executed, lineage=steps.lineage
        ):
            book.publish_again(event.now)

    def _stop(self, reason: str) -> None:
        self._is_stopping = True
        self._drop_rest(reason)
        if self.state is not RunState.DRAINING:
            self._change_run(RunState.DRAINING, reason)

    def _drop_rest(self, reason: str) -> None:
        """What is not sealed by now is not trained any more."""
        for group in self._unsealed():
            self._drop(DropReason.END_OF_RUN, reason, group)

    def _unsealed(self) -> list[Group]:
        """Open training groups that are in no batch, not even in one that is being journaled."""
        sealing = self._sealing.members
        return [group for group in self.groups.lane(Lane.TRAIN) if group.key.draw not in sealing]

    # ---- what has become possible

    def _advance(self, now: float) -> None:
        """Do what can be done now; each part looks at the books and is safe to repeat."""
        for part in (
            self._pass_device,
            self._start_ranks,
            self._journal_next,
            self._drive_ranks,
            self._want_newest,
            self._evaluate,
            self._grant,
            self._finish,
        ):
            if self.state.is_over:
                return
            part(now)

    def _pass_device(self, now: float) -> None:
        """Give the GPUs that learner and engines share to whoever needs them now."""
        if not self.device.is_shared:
            return
        was_granting = self.device.may_grant
        failure = self.device.advance(need_of(self), now)
        if was_granting and not self.device.may_grant:
            self._revoke((Lane.EVAL, Lane.TRAIN), "the learner needs the GPUs")
            if self.rounds.is_open:
                self._end_round()
                self.rounds.abandon()
        if failure:
            self._change_run(RunState.FAILED, failure)

    def _start_ranks(self, _now: float) -> None:
        if not self.steps.are_ranks_ready and not self._are_ranks_starting and self.device.may_start_ranks:
            self._are_ranks_starting = True
            self._num_starts += 1
            self.out.do(StartRanks(attempt=self._num_starts, sealed=self.steps.sealed))

    def _journal_next(self, _now: float) -> None:
        steps = self.steps
        if steps.journaling is not None or self.groups.num_complete < self.config.batch_size:
            return
        self._drop_stale(steps.sealed + 1)
        if self.groups.num_complete < self.config.batch_size or self._must_wait(steps.sealed + 1):
            return
        complete = self.groups.complete()[: self.config.batch_size]
        batch = sampling.batch_of(complete, self.config)
        if batch is None:
            self._drop(DropReason.FILTERED, "too many groups of its batch are flat", *complete)
            return
        self._sealing, steps.journaling = batch, steps.sealed + 1
        self.out.do(batch.journal(step=steps.journaling, lineage=steps.lineage))

    def _drop_stale(self, step: int) -> None:
        if self.versions.wanted is None:
            return
        for group in self._unsealed():
            if not self.state.is_over and not self._is_fresh(group, step):
                self._drop(DropReason.STALE, f"policy versions {sorted(group.versions)} for step {step}", group)

    def _is_fresh(self, group: Group, step: int) -> bool:
        wanted = self.versions.wanted
        if self.config.max_staleness == 0 and wanted is not None and wanted.step == step - 1:
            return all(self.versions.is_same(version, wanted) for version in group.versions)
        return all(self._is_recent(version, step) for version in group.versions)

    def _must_wait(self, step: int) -> bool:
        """Whether a group on an engine would be too old for any later step: its lease's deadline bounds the wait."""
        running = (group for group in self.groups.lane(Lane.TRAIN) if group.token is not None)
        leases = (self.leases.leases[group.token] for group in running if group.token is not None)
        return any(not self._is_recent(lease.version, step + 1) for lease in leases)

    def _drive_ranks(self, now: float) -> None:
        """Give idle ranks their next task: publish, save, execute, in that order."""
        if not self._are_ranks_free or self.versions.publishing is not None:
            return
        if self.needs_publish() and not self.is_giving_up:
            if self.device.may_publish:
                self._publish(now)
        elif self.needs_checkpoint() and now >= self._saves.not_before:
            # The ranks wait for the former checkpoint: of two that are being written neither would be whole in time.
            if self.steps.saving is None:
                self.out.do(SaveCheckpoint(step=self.steps.begin_saving()))
        elif self.may_execute_next() and self.device.may_execute:
            self._execute_next()

    def may_execute_next(self) -> bool:
        """Whether there is a step to execute, and nothing that must happen before."""
        is_sealed = self.steps.executed < self.steps.sealed
        return is_sealed and not self.is_giving_up and not self._awaits_evaluation()

    @property
    def _are_ranks_free(self) -> bool:
        """Whether the ranks wait for work, and have what they hold where they compute."""
        return self.steps.is_idle and self.device.are_ranks_at_work

    def _execute_next(self) -> None:
        if self.steps.executed + 1 in self.poisoned:
            self._change_run(RunState.FAILED, f"step {self.steps.executed + 1} is poisoned: it gave a non-finite loss")
            return
        if self.steps.executed + 1 in self.steps.skipped:
            self.steps.pass_over()
            return
        step = self.steps.begin()
        self.out.do(Execute(step=step, lineage=self.steps.lineage))

    def _awaits_evaluation(self) -> bool:
        """Whether the ranks must keep their weights: a round needs them, and whoever dies must get them again.

        So no checkpoint is ever ahead of a round that is not reported, and no round is passed over.
        """
        is_replay = self.steps.executed < self.steps.replay_until
        return self.rounds.is_open or (not is_replay and self._is_evaluated(self.steps.executed))

    def needs_publish(self) -> bool:
        """Whether the weights of the ranks are not published."""
        if self.steps.executed < self.steps.replay_until:
            return False
        newest = self.versions.newest(lineage=self.steps.lineage, step=self.steps.executed)
        return newest is None or not newest.digest

    def _publish(self, now: float) -> None:
        if now < self.versions.retry_at:
            return
        self.versions.publish_newest(lineage=self.steps.lineage, step=self.steps.executed)

    def needs_checkpoint(self) -> bool:
        """Whether they are to be saved."""
        return saving.is_due(self.steps, interval=self.config.checkpoint_interval, is_last=self.is_at_last_step())

    def is_at_last_step(self) -> bool:
        """Whether no step will come after those that are executed."""
        is_trained = self.steps.executed == self.config.num_steps
        return is_trained or self._is_stopping or self.is_giving_up

    @property
    def is_giving_up(self) -> bool:
        """Whether the run only saves what it has, and fails: no engine has served for too long."""
        return self._patience.is_exhausted

    def _want_newest(self, _now: float) -> None:
        newest = self.versions.newest(lineage=self.steps.lineage, step=self.steps.executed)
        if newest is None or not newest.digest or newest is self.versions.wanted:
            return
        if self.rounds.is_open:
            if self.is_round_alive():
                return
            self._end_round()
            self.rounds.abandon()
        self.versions.want(newest)
        self._drop_stale(self.steps.sealed + 1)
        if self.state is RunState.STARTING:
            self._change_run(RunState.RUNNING, f"version {newest.number} is out")

    def _evaluate(self, now: float) -> None:
        if not self.rounds.is_open:
            self._open_round(now)
        elif not self.rounds.is_reporting and (self.groups.num_evaluating == 0 or now > self.rounds.deadline):
            self.out.do(ReportEvaluation(round=self.rounds.report(), missing=self._end_round()))

    def _open_round(self, now: float) -> None:
        wanted = self.versions.wanted
        # Weights of earlier ranks cannot be had again: their round waits until they are published anew.
        is_possible = self.device.may_grant and not self._is_reloading()
        if wanted is None or not is_possible or not self._is_evaluated(wanted.step):
            return
        self.rounds.open(wanted.step, now)
        self.groups.open_evaluation(wanted.step, self.rounds.sizes)
        self.out.do(OpenEvaluation(round=wanted.step))

    def _is_evaluated(self, step: int) -> bool:
        return not self._is_stopping and self.rounds.is_due(step)

    def is_round_alive(self) -> bool:
        """Whether the round is being reported, or some engine still holds its weights."""
        wanted = self.versions.wanted
        return self.rounds.is_reporting or (wanted is not None and bool(self.engines.certified(wanted.digest)))

    def _end_round(self) -> int:
        """Revoke the round's leases and forget its groups; return how many samples are missing."""
        assert self.rounds.current is not None
        self._revoke((Lane.EVAL,), "the evaluation is over")
        return self.groups.close_evaluation(self.rounds.current)

    def _revoke(self, lanes: tuple[Lane, ...], reason: str) -> None:
        for lease in [lease for lease in self.leases.leases.values() if lease.key.lane in lanes]:
            self._end_lease(lease.token, LeaseState.REVOKED, reason)
            self.out.do(Revoke(engine=lease.engine, token=lease.token, reason=reason))

    def _close_round(self, round_: int) -> None:
        if self.rounds.close(round_):
            self.out.record(EvaluationClosed(round=round_))

    def _grant(self, now: float) -> None:
        wanted = self.versions.wanted
        if wanted is None or not self.device.may_grant:
            return
        for lane in (Lane.EVAL, Lane.TRAIN):
            room = self.engines.room(wanted.digest, now) if self.groups.unleased[lane] else 0
            if room == 0 or (lane is Lane.TRAIN and not self._may_lease()):
                continue
            for group in self.groups.ready(lane, now, limit=room):
                if not self.state.is_over:  # a drop may have been one too many
                    self._lease(group, wanted, now)
        self._draw_and_lease(wanted, now)

    def _draw_and_lease(self, wanted: Version, now: float) -> None:
        while not self.state.is_over and self._may_draw() and self._may_lease():
            if not self.engines.room(wanted.digest, now):
                return
            if self.grader_of(training(self.groups.cursor), "") is None:
                return
            self._lease(self.groups.draw(self.config.group_size), wanted, now)

    def _may_lease(self) -> bool:
        """Whether training work may begin under the wanted version without exceeding the lag."""
        wanted, steps = self.versions.wanted, self.steps
        if wanted is None or self._is_stopping:
            return False
        # Without slack the weights that the ranks hold decide; after a reload they come out anew first.
        is_current = steps.are_ranks_ready and wanted.lineage == steps.lineage
        return (is_current or self.config.max_staleness > 0) and (
            steps.sealed - wanted.step <= self.config.max_staleness
        )

    def _may_draw(self) -> bool:
        """Admission: running + waiting + sealed beyond the wanted version < (S + 1) · B."""
        wanted, batch = self.versions.wanted, self.config.batch_size
        if wanted is None or self._is_stopping:
            return False
        num_open = self.groups.num_open
        admitted = num_open + (self.steps.sealed - wanted.step) * batch
        is_needed = num_open < (self.config.num_steps - self.steps.sealed) * batch
        return is_needed and admitted < (self.config.max_staleness + 1) * batch

    def _lease(self, group: Group, wanted: Version, now: float) -> None:
        engine = self.engines.choose(wanted.digest, avoided=group.avoided, now=now)
        grader = self.grader_of(group.key, group.grader_version if group.num_filled else "")
        if engine is None or grader is None or not self._pin_grader(group, grader):
            return
        lease = self.leases.grant(group, engine=engine.incarnation, version=wanted.number, now=now)
        self.groups.assign(group, lease.token)
        self.engines.take(engine)
        is_whole = self.config.is_deterministic
        self.out.do(
            Grant(
                engine=engine.incarnation,
                token=lease.token,
                key=group.key,
                indices=tuple(range(len(group.slots))) if is_whole else group.missing,
                version=wanted.number,
                grader_version=group.grader_version,
            )
        )

    def _pin_grader(self, group: Group, grader: str) -> bool:
        """Pin the grader; a half graded group whose grader is gone goes no further.

        Empty stands for a grader that its replica names only when it is used: the first sample pins it then.
        """
        is_begun = group.num_filled > 0
        if is_begun and grader not in ("", group.grader_version):
            reason = f"{group.grader_version} is no longer offered"
            if group.key.lane is Lane.EVAL:
                self.groups.give_up_missing(group, reason)
            else:
                self._drop(DropReason.GRADER_GONE, reason, group)
            return False
        if not is_begun:
            group.grader_version = grader
        return True

    def _finish(self, _now: float) -> None:
        steps, wanted = self.steps, self.versions.wanted
        is_trained = steps.executed >= self.config.num_steps or (self._is_stopping and steps.journaling is None)
        if not is_trained or not steps.is_idle or steps.executed < steps.sealed:
            return
        if wanted is None and not self._is_stopping:
            return
        if self.state is not RunState.DRAINING:
            self._drop_rest(f"{steps.executed} steps are executed")
            self._change_run(RunState.DRAINING, f"{steps.executed} steps are executed")
        is_published = wanted is not None and (wanted.lineage, wanted.step) == (steps.lineage, steps.executed)
        is_covered = steps.covered >= steps.executed
        is_evaluated = not self.rounds.is_open and not self._is_evaluated(steps.executed)
        if (is_published or self._is_stopping) and is_covered and is_evaluated:
            self._change_run(RunState.ENDED, f"{steps.executed} steps are trained and saved")

    def _change_run(self, state: RunState, reason: str) -> None:
        if self.state.is_over:
            return
        self.state = follow(RUN, self.state, state)
        self.out.record(RunChanged(state=state, reason=reason))
        self.out.do(ChangeRun(state=state, reason=reason))
