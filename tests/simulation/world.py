"""The whole world of one seed: built, disturbed, run to its end and judged."""

import random

from simulation.agenda import Agenda
from simulation.broadcaster import Broadcaster
from simulation.coordinator import Coordinator
from simulation.device import Device
from simulation.disk import Batch, Disk
from simulation.engine import Engine
from simulation.network import Network
from simulation.plan import FAULTS_UNTIL_S, Plan, plan_of
from simulation.ranks import RankSet
from simulation.trace import Trace
from simulation.verdict import check_end
from simulation.watch import Watch
from tetrad_learner.coordinator.core import events as ev
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.membership import RunState

HORIZON_S = 600.0


class Broken(AssertionError):
    """A rule of the protocol does not hold."""


class World:
    """Everything there is."""

    def __init__(self, plan: Plan, *, trace_length: int = 60) -> None:
        self.plan = plan
        self.rng = random.Random(f"world {plan.seed}")
        self.agenda = Agenda()
        self.trace = Trace(trace_length)
        self.disk = Disk()
        self.network = Network(self.agenda, self.rng, plan.faults)
        self.watch = Watch(self)
        self.broadcaster = Broadcaster(self)
        self.coordinator = Coordinator(self)
        self.engines: list[Engine] = []
        self.engines_ever: list[Engine] = []
        self.rank_sets: list[RankSet] = []
        self.device = Device(self)
        self.grader: str | None = "grader-0"
        self.used_graders: set[str] = set()
        self.num_notes = 0
        self.performed: set[object] = set()
        """Kinds of effects and answers that reached the world."""
        self._num_incarnations = 0
        self._rank_deaths_left = plan.faults.rank_deaths
        self._is_checkpoint_lost = not plan.faults.lost_checkpoint

    def run(self) -> RunState:
        """Run to the end of the run and judge it; raise Broken with a trace otherwise."""
        try:
            self._begin()
            self._run_until_over()
            if self.plan.faults.is_skipped and self.plan.faults.poisoned_step in self.disk.image.poisoned:
                self.coordinator.skip(self.plan.faults.poisoned_step)
                self._run_until_over()
            core, ended = self.coordinator.core, self.coordinator.ended
            self.expect(ended is not None, f"not over after {HORIZON_S:g} s: {core.state}, {core.steps}")
            assert ended is not None
            check_end(self, ended)
        except Exception as error:
            seed = self.plan.seed
            replay = f"PYTHONPATH=tests python -m simulation.replay {seed}"
            verdict = str(error) if isinstance(error, Broken) else repr(error)
            raise Broken(f"seed {seed}: {verdict}\n{self.trace}\nreplay with: {replay}") from error
        return ended.state

    def expect(self, is_so: object, otherwise: str) -> None:
        """Raise Broken unless it is so."""
        if not is_so:
            raise Broken(otherwise)

    def note(self, who: str, what: object) -> None:
        """Keep a line for the trace."""
        self.num_notes += 1
        self.trace.note(self.agenda.now, who, what)

    def may_die(self) -> bool:
        """Whether the ranks die in what they are about to do."""
        faults = self.plan.faults
        if not self._rank_deaths_left or self.agenda.now > FAULTS_UNTIL_S or self.rng.random() >= faults.rank_death:
            return False
        self._rank_deaths_left -= 1
        return True

    def named_grader(self) -> str | None:
        """What the reward service offers: None while it is gone, empty where it names a version only once used."""
        is_known = self.plan.is_grader_named or self.grader is None or self.grader in self.used_graders
        return self.grader if is_known else ""

    def use_grader(self) -> str:
        """Grade a sample."""
        grader = self.grader or "grader-gone"
        self.used_graders.add(grader)
        return grader

    def lose_newest_checkpoint(self) -> None:
        """Once, if planned: what ranks would load is unreadable."""
        if not self._is_checkpoint_lost and self.disk.checkpoints and self.agenda.now > 1.0:
            self._is_checkpoint_lost = True
            lost = max(self.disk.checkpoints)
            self.note("disk", f"checkpoint {lost} is unreadable")
            del self.disk.checkpoints[lost]

    def trained(self) -> dict[int, Batch]:
        """The batches of the run."""
        return self.disk.journal

    # ---- beginning and trouble

    def _run_until_over(self) -> None:
        self.agenda.run(until_s=HORIZON_S, is_over=lambda: self.coordinator.ended is not None)

    def _begin(self) -> None:
        self.coordinator.start()
        self.broadcaster.begin()
        for number in range(self.plan.num_engines):
            self._start_engine(f"rollout-{number}", is_colocated=number < self.plan.num_colocated)
        faults = self.plan.faults
        for trouble, times in (
            (self._crash_engine, faults.engine_crashes),
            (self._freeze_engine, faults.engine_freezes),
            (self._drain_engine, faults.engine_drains),
            (self.coordinator.kill_ranks, faults.rank_kills),
            (self.broadcaster.restart, faults.broadcaster_restarts),
            (self._freeze_coordinator, faults.coordinator_freezes),
            (self._swap_grader, faults.grader_swaps),
        ):
            for _ in range(times):
                self.agenda.after(self.rng.uniform(0.0, FAULTS_UNTIL_S), trouble)
        if faults.stop_at_s:
            self.agenda.after(faults.stop_at_s, self._stop)

    def _start_engine(self, name: str, *, is_colocated: bool) -> None:
        self._num_incarnations += 1
        incarnation = Incarnation(f"{name}.{self._num_incarnations}")
        engine = Engine(self, name=name, incarnation=incarnation, is_colocated=is_colocated)
        for former in [other for other in self.engines if other.name == name]:
            former.crash()
            self.engines.remove(former)
        self.engines.append(engine)
        self.engines_ever.append(engine)
        self.note(name, f"starts as {engine.incarnation}")
        engine.begin()

    def _some_engine(self) -> Engine | None:
        alive = [engine for engine in self.engines if engine.is_alive]
        return self.rng.choice(alive) if alive else None

    def _crash_engine(self) -> None:
        engine = self._some_engine()
        if engine is not None:
            self.note(engine.name, "crashes")
            engine.crash()
            self.agenda.after(self.rng.uniform(0.1, 8.0), self._restart_engine, engine)

    def _freeze_engine(self) -> None:
        engine = self._some_engine()
        if engine is not None:
            seconds = self.rng.uniform(0.5, 10.0)
            self.note(engine.name, f"freezes for {seconds:.1f} s")
            engine.frozen_until = self.agenda.now + seconds

    def _drain_engine(self) -> None:
        engine = self._some_engine()
        if engine is not None:
            self.note(engine.name, "drains")
            engine.is_draining = True
            self.agenda.after(self.rng.uniform(1.0, 10.0), self._replace, engine)

    def _replace(self, engine: Engine) -> None:
        """What does not leave in time is ended; another one takes its place."""
        if engine in self.engines:
            self._restart_engine(engine)

    def _restart_engine(self, engine: Engine) -> None:
        self._start_engine(engine.name, is_colocated=engine.device is not None)

    def is_process_alive(self, process: str) -> bool:
        """What /proc says of a process, here named after its engine's incarnation."""
        return any(engine.is_alive for engine in self.engines_ever if engine.incarnation == process)

    def _freeze_coordinator(self) -> None:
        if self.coordinator.is_up:
            self.coordinator.freeze(self.rng.uniform(0.5, 12.0))

    def _swap_grader(self) -> None:
        """The reward service goes, and comes back as another implementation."""
        self.grader = None
        self.agenda.after(self.rng.uniform(0.0, 2.0), self._offer_grader, f"grader-{self.agenda.now:.1f}")

    def _offer_grader(self, grader: str) -> None:
        self.grader = grader

    def _stop(self) -> None:
        self.coordinator.receive(lambda now: ev.StopAsked(now=now, reason="enough"))


def run_seed(seed: int, *, trace_length: int = 60) -> RunState:
    """Run one seed; where faults may not matter, compare it with the run without faults."""
    plan = plan_of(seed)
    world = World(plan, trace_length=trace_length)
    state = world.run()
    if plan.is_comparable and state is RunState.ENDED:
        calm = World(plan.undisturbed())
        calm.run()
        if world.trained() != calm.trained() or world.disk.newest_checkpoint() != calm.disk.newest_checkpoint():
            raise Broken(f"seed {seed}: trained {world.trained()}, without faults {calm.trained()}\n{world.trace}")
    return state
