"""Checkpoints that are written while the run goes on: when the ranks wait, and when a step counts as covered."""

from unit.learner.coordinator.core.core_harness import Harness

from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import events as ev
from tetrad_learner.coordinator.core.tables import StepState
from tetrad_wire.messages.membership import RunState


def after_a_step(**config: int) -> Harness:
    """A run whose ranks were told to save step 1, and whose next batch is sealed."""
    run = Harness(**{"checkpoint_interval": 1, "max_staleness": 1, **config})
    run.begin()
    run.train(0, 1, version=1, digest="w1")
    assert run.take(ef.SaveCheckpoint) == [ef.SaveCheckpoint(step=1)]
    run.certify(digest="w1")
    run.fill(2, 3, version=2)
    run.journal()
    return run


def test_the_ranks_keep_still_until_they_have_their_copy() -> None:
    run = after_a_step()
    assert run.take(ef.Execute) == []

    run.do(ev.CheckpointCopied, step=1)

    assert [execute.step for execute in run.take(ef.Execute)] == [2]


def test_a_step_is_covered_once_its_checkpoint_is_whole_and_not_before() -> None:
    run = after_a_step()
    run.do(ev.CheckpointCopied, step=1)
    run.execute()
    assert (run.image.executed, run.image.covered) == (2, 0)

    run.do(ev.CheckpointWritten, step=1, folder="global_step_1")

    assert [run.image.steps[step].state for step in (1, 2)] == [StepState.COVERED, StepState.EXECUTED]
    assert run.image.covered == 1


def test_the_next_checkpoint_waits_for_the_former() -> None:
    run = after_a_step()
    run.do(ev.CheckpointCopied, step=1)
    run.execute()
    run.publish("w2")
    assert run.take(ef.SaveCheckpoint) == []

    run.do(ev.CheckpointWritten, step=1, folder="global_step_1")

    assert run.take(ef.SaveCheckpoint) == [ef.SaveCheckpoint(step=2)]


def test_the_run_does_not_end_before_its_last_checkpoint_is_whole() -> None:
    run = Harness(num_steps=1)
    run.begin()
    run.train(0, 1, version=1, digest="w1")
    run.do(ev.CheckpointCopied, step=1)
    assert run.core.state is RunState.DRAINING

    run.do(ev.CheckpointWritten, step=1, folder="global_step_1")

    assert run.core.state is RunState.ENDED


def test_a_failed_checkpoint_is_tried_again_after_a_pause_while_training_goes_on() -> None:
    run = after_a_step()
    run.do(ev.CheckpointCopied, step=1)
    run.do(ev.CheckpointFailed, step=1, reason="the disk is full")
    assert run.take(ef.SaveCheckpoint) == []
    run.execute()
    run.publish("w2")

    run.wait(3.0)

    assert run.take(ef.SaveCheckpoint) == [ef.SaveCheckpoint(step=2)]


def test_checkpoints_that_always_fail_end_the_run_and_say_why() -> None:
    run = Harness(num_steps=1, max_save_attempts=3)
    run.begin()
    run.train(0, 1, version=1, digest="w1")

    for _ in range(3):
        assert run.take(ef.SaveCheckpoint) == [ef.SaveCheckpoint(step=1)]
        run.do(ev.CheckpointFailed, step=1, reason="the disk is full")
        run.wait(3.0)

    assert run.core.state is RunState.FAILED
    assert run.image.reason == "3 checkpoints in a row could not be written: the disk is full"


def test_ranks_that_die_while_their_checkpoint_is_written_lose_it() -> None:
    run = after_a_step()
    run.do(ev.CheckpointCopied, step=1)
    run.take(ef.Execute)
    run.do(ev.RanksLost, reason="killed")

    run.do(ev.CheckpointWritten, step=1, folder="global_step_1")
    run.do(ev.RanksReady, step=0)
    run.execute()

    assert run.image.covered == 0
    run.publish("w1")
    assert [save.step for save in run.take(ef.SaveCheckpoint)] == [1]


def test_what_cannot_be_loaded_fails_the_run() -> None:
    run = Harness()

    run.do(ev.CannotGoOn, reason="there is nothing to load: all is damaged")

    assert run.core.state is RunState.FAILED
    assert "nothing to load" in run.image.reason


def test_the_ranks_are_told_how_far_they_must_be_able_to_get() -> None:
    run = after_a_step()
    run.take(ef.StartRanks)

    run.do(ev.RanksLost, reason="killed")

    assert [start.sealed for start in run.take(ef.StartRanks)] == [2]
