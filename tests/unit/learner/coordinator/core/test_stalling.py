"""A run that no engine serves: it saves what it has learned, and fails."""

from unit.learner.coordinator.core.core_harness import Harness

from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import events as ev
from tetrad_wire.messages.membership import RunState


def with_an_unsaved_step() -> Harness:
    """A step is trained, no checkpoint is due, and no engine has its weights."""
    run = Harness(checkpoint_interval=100, stall_timeout_s=50.0)
    run.begin()
    run.train(0, 1, version=1, digest="w1")
    return run


def test_a_checkpoint_comes_before_the_failure() -> None:
    run = with_an_unsaved_step()

    run.wait(60.0)
    assert run.take(ef.SaveCheckpoint) == [ef.SaveCheckpoint(step=1)]
    assert run.core.state is RunState.STALLED
    run.do(ev.CheckpointWritten, step=1, folder="global_step_1")
    run.wait(1.0)

    assert run.core.state is RunState.FAILED
    assert "no engine certified" in run.image.reason
    assert run.image.covered == 1


def test_a_checkpoint_that_does_not_come_ends_the_wait_too() -> None:
    run = with_an_unsaved_step()

    run.wait(99.0)
    assert run.core.state is RunState.STALLED
    run.wait(10.0)

    assert run.core.state is RunState.FAILED


def test_an_engine_that_comes_back_while_it_is_saved_lets_the_run_go_on() -> None:
    run = with_an_unsaved_step()
    run.wait(60.0)

    run.certify(digest="w1")
    run.do(ev.CheckpointWritten, step=1, folder="global_step_1")
    run.wait(1.0)

    assert run.core.state is RunState.RUNNING
    assert run.take(ef.Grant) != []


def test_nothing_is_saved_twice() -> None:
    run = Harness(checkpoint_interval=1, stall_timeout_s=50.0)
    run.begin()
    run.train(0, 1, version=1, digest="w1")
    run.take(ef.SaveCheckpoint)
    run.do(ev.CheckpointWritten, step=1, folder="global_step_1")

    run.wait(60.0)

    assert run.take(ef.SaveCheckpoint) == []
    assert run.core.state is RunState.FAILED
