"""The coordinator's shell in virtual time: handle, commit, perform, and death between any two of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulation.disk import Weights
from simulation.plan import FAULTS_UNTIL_S
from simulation.ranks import RankSet
from tetrad_learner.coordinator.core import Core
from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import events as ev
from tetrad_learner.coordinator.core.image import restore
from tetrad_learner.coordinator.core.outcome import Outcome
from tetrad_learner.coordinator.core.skipping import skipped
from tetrad_wire.ids import Incarnation, Token
from tetrad_wire.messages.leases import Disposition, Lane
from tetrad_wire.messages.membership import Certificate, DeviceReport

if TYPE_CHECKING:
    from simulation.engine import Engine
    from simulation.world import World

TICK_S = 0.5
COMMIT_S = 0.02
RESTART_S = (0.2, 5.0)

Make = Callable[[float], ev.Event]


@dataclass(frozen=True, slots=True)
class DesiredState:
    """What every engine is told, again and again."""

    wanted: ef.Want | None
    order: ef.EnterPhase | None
    should_register: bool


class Coordinator:
    """One process after the other on the same disk."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.core: Core
        self.is_up = False
        self.ended: ef.ChangeRun | None = None
        self._life = 0
        self._frozen_until = 0.0
        self._crashes_left = world.plan.faults.coordinator_crashes
        self._forget()

    def _forget(self) -> None:
        self._pending: list[tuple[Outcome, ev.SampleArrived | None]] = []
        self._is_committing = False
        self._members: dict[str, Engine] = {}
        self._ranks: RankSet | None = None
        self._wanted: ef.Want | None = None
        self._order: ef.EnterPhase | None = None

    def _new_core(self) -> Core:
        world = self._world
        return Core(
            world.plan.config,
            epoch=world.disk.begin_epoch(),
            grader_of=lambda _key, _pinned: world.named_grader(),
            evaluation_sizes=world.plan.evaluation_sizes,
        )

    # ---- life

    def start(self) -> None:
        """Come up from what is durable."""
        world = self._world
        self._life += 1
        self._forget()
        self.core = self._new_core()
        restore(self.core, world.disk.read(), now=world.agenda.now)
        self.is_up = True
        world.watch.begin(self.core, epoch=world.disk.epoch)
        world.note("coordinator", f"starts as epoch {world.disk.epoch}")
        self._tick()

    def skip(self, step: int) -> None:
        """Start again after the end, without a poisoned step, as somebody wished who looked into it."""
        world = self._world
        world.note("coordinator", f"is started without step {step}")
        world.disk.commit(skipped(world.disk.read(), step), [])
        self.ended = None
        self.start()

    def crash(self) -> None:
        """Lose everything that is not on the disk; the ranks go with their parent."""
        world = self._world
        world.note("coordinator", "crashes")
        self.is_up = False
        self._life += 1
        if self._ranks is not None:
            self._ranks.kill()
        world.agenda.after(world.rng.uniform(*RESTART_S), self.start)

    def freeze(self, seconds: float) -> None:
        """Stop listening; messages wait on the sockets."""
        self._world.note("coordinator", f"freezes for {seconds:.1f} s")
        self._frozen_until = max(self._frozen_until, self._world.agenda.now + seconds)
        self._world.watch.thaws_at(self._frozen_until)

    def kill_ranks(self) -> None:
        """Whatever they do, or nothing."""
        if self._ranks is not None:
            self._ranks.die("whatever they did")

    def _may_crash(self) -> bool:
        world = self._world
        if not self._crashes_left or world.agenda.now > FAULTS_UNTIL_S:
            return False
        if world.rng.random() >= world.plan.faults.coordinator_crash:
            return False
        self._crashes_left -= 1
        self.crash()
        return True

    def _later(self, delay_s: float, action: Callable[..., None], *args: Any) -> None:
        self._world.agenda.after(delay_s, self._in_life, self._life, action, args)

    def _in_life(self, life: int, action: Callable[..., None], args: tuple[Any, ...]) -> None:
        """Act unless the process is another one; what comes while frozen waits."""
        if life != self._life or not self.is_up:
            return
        wait_s = self._frozen_until - self._world.agenda.now
        if wait_s > 0:
            self._world.agenda.after(wait_s, self._in_life, life, action, args)
        else:
            action(*args)

    def _tick(self) -> None:
        self._later(TICK_S, self._tick)
        for engine, holder in list(self.core.device.holders.items()):
            if self.is_up and not self._world.is_process_alive(holder.process):
                self._handle(ev.EngineGone(now=self._world.agenda.now, incarnation=engine))
        if self.is_up:
            self._handle(ev.Ticked(now=self._world.agenda.now))

    # ---- messages

    def receive(self, make: Make) -> None:
        """An event from outside; nobody hears it while the process is down."""
        self._in_life(self._life, self._take, (make,))

    def welcome(self, engine: "Engine", credit: int) -> None:
        """An engine's Hello; its former self is gone."""
        self._in_life(self._life, self._welcome, (engine, credit))

    def hear(
        self,
        engine: "Engine",
        certificate: Certificate | None,
        is_draining: bool,
        progress: dict[Token, int],
        device: DeviceReport | None,
    ) -> None:
        """An engine's heartbeat; the answer is the full desired state."""
        self._in_life(self._life, self._hear, (engine, certificate, is_draining, progress, device))

    def say_farewell(self, engine: "Engine") -> None:
        """An engine leaves."""
        self._in_life(self._life, self._farewell, (engine,))

    def hear_ranks(self, ranks: RankSet, make: Make) -> None:
        """A message of the current ranks; one of another set is not heard."""
        self._in_life(self._life, self._take_from_ranks, (ranks, make))

    def lose_ranks(self, ranks: RankSet) -> None:
        """The set is known to be dead."""
        self._in_life(self._life, self._lose_ranks, (ranks,))

    def complete_checkpoint(self, ranks: RankSet, step: int, weights: Weights) -> None:
        """All ranks have written: rename, then tell the core."""
        if ranks is self._ranks:
            self._later(self._world.rng.uniform(0.0, 0.1), self._rename_checkpoint, step, weights)

    def _take(self, make: Make) -> None:
        self._handle(make(self._world.agenda.now))

    def _take_from_ranks(self, ranks: RankSet, make: Make) -> None:
        if ranks is self._ranks:
            self._take(make)

    def _welcome(self, engine: "Engine", credit: int) -> None:
        former = self._members.get(engine.name)
        self._members[engine.name] = engine
        if former is not None and former is not engine:
            self._handle(ev.EngineLeft(now=self._world.agenda.now, incarnation=former.incarnation))
        if self.is_up:
            now = self._world.agenda.now
            process = engine.incarnation if engine.device is not None else ""
            joined = ev.EngineJoined(now=now, incarnation=engine.incarnation, credit=credit, process=process)
            self._handle(joined)

    def _hear(
        self,
        engine: "Engine",
        certificate: Certificate | None,
        is_draining: bool,
        progress: dict[Token, int],
        device: DeviceReport | None,
    ) -> None:
        is_known = self._is_known(engine)
        if is_known:
            event = ev.EngineBeat(
                now=self._world.agenda.now,
                incarnation=engine.incarnation,
                certificate=certificate,
                is_draining=is_draining,
                progress=progress,
                device=device,
            )
            self._handle(event)
        self._tell(engine, should_register=not is_known)

    def _is_known(self, engine: "Engine") -> bool:
        is_member = self._members.get(engine.name) is engine
        return is_member and engine.incarnation in self.core.engines.engines

    def _farewell(self, engine: "Engine") -> None:
        self._handle(ev.EngineLeft(now=self._world.agenda.now, incarnation=engine.incarnation))

    def _lose_ranks(self, ranks: RankSet) -> None:
        if ranks is self._ranks:
            self._ranks = None
            self._handle(ev.RanksLost(now=self._world.agenda.now, reason="died"))

    def _rename_checkpoint(self, step: int, weights: Weights) -> None:
        self._world.disk.checkpoints[step] = weights
        self._later(self._world.rng.uniform(0.0, 0.1), self._note_checkpoint, step)

    def _note_checkpoint(self, step: int) -> None:
        self._handle(ev.CheckpointWritten(now=self._world.agenda.now, step=step, folder=f"global_step_{step}"))

    # ---- handle, commit, perform

    def _handle(self, event: ev.Event) -> None:
        world = self._world
        world.note("event", event)
        outcome = self.core.handle(event)
        world.watch.see(event, outcome)
        if self._may_crash():
            return
        if outcome.facts or outcome.effects:
            sample = event if isinstance(event, ev.SampleArrived) and _is_kept(event, outcome) else None
            self._submit(outcome, sample)

    def _submit(self, outcome: Outcome, sample: ev.SampleArrived | None) -> None:
        self._pending.append((outcome, sample))
        if not self._is_committing:
            self._is_committing = True
            self._later(self._world.rng.uniform(0.0, COMMIT_S), self._commit)

    def _commit(self) -> None:
        batch, self._pending = self._pending, []
        if self._may_crash():
            return
        facts = [fact for outcome, _sample in batch for fact in outcome.facts]
        self._world.disk.commit(facts, [sample for _outcome, sample in batch if sample is not None])
        self._is_committing = False
        self._perform([effect for outcome, _sample in batch for effect in outcome.effects])

    def _perform(self, effects: list[ef.Effect]) -> None:
        life = self._life
        for effect in effects:
            if self._may_crash() or life != self._life or not self.is_up:
                return
            self._world.note("effect", effect)
            self._world.performed.add(type(effect).__name__)
            self._world.watch.perform(effect)
            _PERFORM[type(effect)](self, effect)

    # ---- effects

    def _engine(self, incarnation: Incarnation) -> "Engine | None":
        return next((engine for engine in self._members.values() if engine.incarnation == incarnation), None)

    def _tell(self, engine: "Engine", *, should_register: bool = False) -> None:
        desired = DesiredState(self._wanted, self._order, should_register)
        self._world.network.send(engine.receive, engine.follow, desired)

    def _grant(self, effect: ef.Grant) -> None:
        engine = self._engine(effect.engine)
        if engine is not None:
            self._world.network.send(engine.receive, engine.take_grant, effect)

    def _revoke(self, effect: ef.Revoke) -> None:
        engine = self._engine(effect.engine)
        if engine is not None:
            self._world.network.send(engine.receive, engine.take_revoke, effect)

    def _acknowledge(self, effect: ef.Acknowledge) -> None:
        self._world.performed.add(effect.disposition)
        for engine in self._members.values():
            self._world.network.send(engine.receive, engine.take_acknowledgement, effect)

    def _want(self, effect: ef.Want) -> None:
        self._wanted = effect
        for engine in self._members.values():
            self._tell(engine)

    def _enter_phase(self, effect: ef.EnterPhase) -> None:
        self._order = effect
        for engine in self._members.values():
            self._tell(engine)

    def _move_state(self, effect: ef.MoveState) -> None:
        if self._ranks is not None:
            self._ranks.move(effect.place)

    def _journal(self, effect: ef.Journal) -> None:
        self._later(self._world.rng.uniform(0.01, self._world.plan.journal_s), self._write_journal, effect)

    def _write_journal(self, effect: ef.Journal) -> None:
        disk = self._world.disk
        disk.journal[effect.step] = disk.batch(effect.draws, effect.multiplicities)
        self._later(self._world.rng.uniform(0.0, 0.05), self._note_journal, effect.step)

    def _note_journal(self, step: int) -> None:
        self._handle(ev.StepJournaled(now=self._world.agenda.now, step=step, journal_hash=f"journal {step}"))

    def _execute(self, effect: ef.Execute) -> None:
        if self._ranks is not None:
            self._ranks.execute(effect.step, effect.lineage)

    def _publish(self, effect: ef.Publish) -> None:
        if self._ranks is not None:
            self._ranks.publish(effect.version, effect.step)

    def _save(self, effect: ef.SaveCheckpoint) -> None:
        if self._ranks is not None:
            self._ranks.save(effect.step)

    def _start_ranks(self, _effect: ef.StartRanks) -> None:
        self._world.lose_newest_checkpoint()
        self._ranks = RankSet(self._world)
        self._world.rank_sets.append(self._ranks)
        self._ranks.load()

    def _open_evaluation(self, effect: ef.OpenEvaluation) -> None:
        """The scores of the round are kept in memory; nothing to do here."""

    def _report(self, effect: ef.ReportEvaluation) -> None:
        reports = self._world.disk.reports
        if effect.round not in reports:  # the log knows what it has written
            reports.append(effect.round)
        self._handle(ev.EvaluationReported(now=self._world.agenda.now, round=effect.round))

    def _change_run(self, effect: ef.ChangeRun) -> None:
        if effect.state.is_over:
            self.ended = effect
            self.is_up = False
            if self._ranks is not None:
                self._ranks.kill()


def _is_kept(event: ev.SampleArrived, outcome: Outcome) -> bool:
    return event.key.lane is Lane.TRAIN and any(
        isinstance(effect, ef.Acknowledge) and effect.disposition is Disposition.ACCEPTED for effect in outcome.effects
    )


_PERFORM: dict[type[ef.Effect], Callable[..., None]] = {
    ef.Grant: Coordinator._grant,
    ef.Revoke: Coordinator._revoke,
    ef.Acknowledge: Coordinator._acknowledge,
    ef.Journal: Coordinator._journal,
    ef.Execute: Coordinator._execute,
    ef.Publish: Coordinator._publish,
    ef.Want: Coordinator._want,
    ef.SaveCheckpoint: Coordinator._save,
    ef.EnterPhase: Coordinator._enter_phase,
    ef.MoveState: Coordinator._move_state,
    ef.StartRanks: Coordinator._start_ranks,
    ef.OpenEvaluation: Coordinator._open_evaluation,
    ef.ReportEvaluation: Coordinator._report,
    ef.ChangeRun: Coordinator._change_run,
}
