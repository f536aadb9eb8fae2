"""A poisoned step that is skipped by hand: its samples have their fate, and the run goes on without it."""

import pytest
from unit.learner.coordinator.core.core_harness import Harness

from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import events as ev
from tetrad_learner.coordinator.core.facts import GroupDropped, StepSkipped
from tetrad_learner.coordinator.core.skipping import SkipError, skipped
from tetrad_learner.coordinator.core.tables import DropReason, SlotState


def a_poisoned_run() -> Harness:
    run = Harness(num_steps=2, checkpoint_interval=1)
    run.begin()
    run.certify()
    run.fill(0, 1)
    run.journal()
    (execute,) = run.take(ef.Execute)
    run.do(ev.StepPoisoned, step=1, lineage=execute.lineage, reason="loss is nan")
    return run


def start_without(run: Harness, step: int) -> None:
    run.image.apply_all(skipped(run.image, step))
    run.restart()


def test_the_samples_of_a_skipped_step_are_dropped_with_their_reason() -> None:
    run = a_poisoned_run()

    facts = skipped(run.image, 1)

    assert facts[-1] == StepSkipped(step=1)
    drops = [fact for fact in facts if isinstance(fact, GroupDropped)]
    assert [(drop.draw, drop.reason) for drop in drops] == [(0, DropReason.SKIPPED), (1, DropReason.SKIPPED)]
    run.image.apply_all(facts)
    assert {slot.state for group in run.image.groups.values() for slot in group.slots} == {SlotState.DROPPED}


def test_a_run_goes_on_without_its_skipped_step() -> None:
    run = a_poisoned_run()

    start_without(run, 1)
    run.begin()
    run.do(ev.Ticked)

    assert run.take(ef.Execute) == []
    assert run.image.executed == 1
    assert [publish.step for publish in run.take(ef.Publish)] == [1]


def test_a_reload_passes_over_the_step_again() -> None:
    run = a_poisoned_run()
    start_without(run, 1)
    run.begin()
    run.do(ev.Ticked)
    run.publish("w0")

    run.do(ev.RanksLost, reason="killed")
    run.do(ev.RanksReady, step=0)
    run.do(ev.Ticked)

    assert run.take(ef.Execute) == []
    assert run.image.executed == 1


def test_skipping_twice_is_skipping_once() -> None:
    run = a_poisoned_run()
    run.image.apply_all(skipped(run.image, 1))

    assert skipped(run.image, 1) == []


def test_only_a_poisoned_step_can_be_skipped() -> None:
    run = a_poisoned_run()

    with pytest.raises(SkipError, match="step 2 cannot be skipped: it is not poisoned; poisoned is 1"):
        skipped(run.image, 2)
    with pytest.raises(SkipError, match="poisoned is no step"):
        skipped(Harness().image, 1)
