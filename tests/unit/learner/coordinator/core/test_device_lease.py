"""Learner and engines take turns on the GPUs that they share: one training step, and who dies in it."""

from itertools import pairwise

import pytest
from unit.learner.coordinator.core.core_harness import ENGINE, Harness

from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import events as ev
from tetrad_learner.coordinator.core.device_phases import DEVICE, ENGINES_MAY_HOLD, RANKS_MAY_HOLD, DevicePhase
from tetrad_testing.builders import a_certificate
from tetrad_wire.messages.membership import DeviceReport, EngineMemory, RunState
from tetrad_wire.messages.steps import StatePlace

P = DevicePhase
STEP = (P.GENERATE, P.DRAIN, P.ENGINE_ASLEEP, P.TRAIN, P.PUBLISH, P.COMMITTED, P.LEARNER_OFFLOADED, P.KV_AWAKE)


class Shared(Harness):
    """A run whose only engine shares its GPU with the ranks."""

    def __init__(self, **config: object) -> None:
        super().__init__(is_colocated=True, stall_timeout_s=30.0, **config)

    @property
    def phase(self) -> DevicePhase:
        """Whose turn it is."""
        return self.core.device.phase

    def join(self) -> None:
        """The engine asks to be admitted."""
        self.do(ev.EngineJoined, incarnation=ENGINE, credit=8, process="here/1/2")

    def obey(self, *, digest: str = "", is_certified: bool = False, problem: str = "", turn: int | None = None) -> None:
        """The engine does what the newest order says, or says why it cannot."""
        device = self.core.device
        report = DeviceReport(
            turn=device.turn if turn is None else turn,
            memory=ENGINES_MAY_HOLD[device.phase],
            digest=digest,
            problem=problem,
        )
        certificate = a_certificate(incarnation=ENGINE, digest=digest) if is_certified else None
        self.do(ev.EngineBeat, incarnation=ENGINE, certificate=certificate, device=report)

    def move(self, place: StatePlace) -> None:
        """The ranks do as they are told."""
        assert self.take(ef.MoveState) == [ef.MoveState(place=place)]
        self.do(ev.RanksMoved, place=place)

    def generate(self, digest: str = "w0") -> None:
        """From published weights to leases."""
        self.obey(digest=digest)
        self.move(StatePlace.HOST)
        self.obey(digest=digest, is_certified=True)

    def start(self) -> None:
        """Until the first group is leased."""
        self.join()
        self.begin()
        self.generate()

    def fill_batch(self) -> None:
        """All that the next step needs is there."""
        self.fill(0, 1)
        self.journal()


def reach(phase: DevicePhase) -> Shared:
    """A run in its first step, in that phase, with an engine that has obeyed everything before."""
    run = Shared()
    run.start()
    if phase is P.GENERATE:
        return run
    run.fill_batch()
    for reached, go_on in (
        (P.DRAIN, run.obey),
        (P.ENGINE_ASLEEP, lambda: run.move(StatePlace.DEVICE)),
        (P.TRAIN, run.execute),
        (P.PUBLISH, lambda: (run.publish("w1"), run.obey(digest="w1"))),
        (P.COMMITTED, lambda: run.move(StatePlace.HOST)),
        (P.LEARNER_OFFLOADED, lambda: run.obey(digest="w1")),
    ):
        assert run.phase is reached
        if phase is reached:
            return run
        go_on()
    return run


def test_the_table_is_the_turn_of_a_step_and_the_ways_back() -> None:
    for before, after in pairwise((*STEP, STEP[0])):
        assert after in DEVICE[before]
    assert {phase for phase, after in DEVICE.items() if P.DRAIN in after} == {P.GENERATE, *STEP[4:]}


def test_no_phase_permits_ranks_and_a_kv_cache_at_once() -> None:
    assert not {phase for phase in RANKS_MAY_HOLD if ENGINES_MAY_HOLD[phase] is EngineMemory.AWAKE}


def test_a_step_goes_through_every_phase() -> None:
    run = reach(P.KV_AWAKE)
    assert run.phase is P.KV_AWAKE

    run.obey(digest="w1", is_certified=True)

    assert run.phase is P.GENERATE
    assert run.take(ef.Grant)


def test_ranks_start_before_any_engine_may_be_built() -> None:
    run = Shared()

    run.join()

    assert run.take(ef.StartRanks)
    assert [enter.memory for enter in run.take(ef.EnterPhase)] == [EngineMemory.ASLEEP]


def test_what_an_engine_said_before_the_order_is_not_believed() -> None:
    run = reach(P.DRAIN)

    run.obey(turn=run.core.device.turn - 1)

    assert run.phase is P.DRAIN


def test_a_silent_engine_is_waited_for_until_its_process_is_dead() -> None:
    run = reach(P.DRAIN)

    run.wait(15.0)
    assert run.phase is P.DRAIN
    run.do(ev.EngineGone, incarnation=ENGINE)

    assert run.phase is P.ENGINE_ASLEEP


def test_an_engine_that_does_not_let_go_ends_the_run_with_its_name() -> None:
    run = reach(P.DRAIN)
    run.obey(turn=run.core.device.turn - 1)

    run.wait(40.0)

    assert run.core.state is RunState.FAILED
    assert f"within 30 s (trainer.stall_timeout): {ENGINE}: holds" in run.image.reason


def test_an_engine_without_room_for_its_kv_cache_ends_the_run_with_its_words() -> None:
    run = reach(P.LEARNER_OFFLOADED)
    run.obey(digest="w1", turn=run.core.device.turn - 1, problem="needs 4 GiB, 3 GiB are free")

    run.wait(40.0)

    assert run.core.state is RunState.FAILED
    assert "needs 4 GiB, 3 GiB are free" in run.image.reason


@pytest.mark.parametrize("phase", STEP)
def test_ranks_that_die_are_started_where_no_engine_holds_anything(phase: DevicePhase) -> None:
    run = reach(phase)
    run.take(ef.StartRanks)

    run.do(ev.RanksLost, reason="killed")
    for _ in range(2):
        if run.phase is P.DRAIN:
            run.obey()

    assert run.phase is P.ENGINE_ASLEEP
    assert len(run.take(ef.StartRanks)) == 1


@pytest.mark.parametrize("phase", STEP)
def test_a_coordinator_that_comes_back_reaches_a_legal_phase(phase: DevicePhase) -> None:
    run = reach(phase)

    run.restart()
    run.do(ev.Ticked)
    assert run.phase in (P.DRAIN, P.ENGINE_ASLEEP)
    assert not run.take(ef.Execute)
    run.obey()
    run.obey()

    assert run.phase is P.ENGINE_ASLEEP
    assert run.take(ef.StartRanks)


@pytest.mark.parametrize("phase", STEP)
def test_an_engine_that_dies_holds_nobody_up(phase: DevicePhase) -> None:
    run = reach(phase)

    run.do(ev.EngineGone, incarnation=ENGINE)
    while (before := run.phase) is not P.GENERATE:
        run.effects = [e for e in run.effects if not isinstance(e, ef.StartRanks | ef.EnterPhase)]
        for move in run.take(ef.MoveState):
            run.do(ev.RanksMoved, place=move.place)
        for execute in run.take(ef.Execute):
            run.do(ev.StepDone, step=execute.step, lineage=execute.lineage)
        for publish in run.take(ef.Publish):
            run.do(ev.VersionOut, version=publish.version, digest="w1")
        run.do(ev.Ticked)
        assert run.phase is not before

    assert run.core.state is RunState.RUNNING


def test_nothing_of_it_happens_where_nothing_is_shared() -> None:
    run = Harness()
    run.begin()
    run.train(0, 1, version=1, digest="w1")

    assert not run.take(ef.EnterPhase)
    assert not run.take(ef.MoveState)
