"""A logger in a thread: TensorBoard for real, held up or refused by the file system where a test needs that."""

import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from unit.learner.coordinator.loggers.logger_builders import a_row
from unit.learner.coordinator.loggers.test_guarded import count
from unit.learner.coordinator.loggers.test_tensorboard import events, scalars

from tetrad_learner.coordinator.loggers.guarded import Failing, Failures, LoggerName
from tetrad_learner.coordinator.loggers.posted import Posted
from tetrad_learner.coordinator.loggers.tensorboard import TensorBoard
from tetrad_telemetry.metrics import Metrics

NAME = LoggerName.TENSORBOARD


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("learner", version="1")


def a_posted(metrics: Metrics, open_logger, **changes) -> Posted:
    return Posted(NAME, open_logger, Failures(metrics), **{"pauses_s": (), "close_s": 60.0} | changes)


class HeldUp:
    """A server that answers nothing until it is let go."""

    def __init__(self, folder: Path) -> None:
        self.may_open = threading.Event()
        self._folder = folder

    def __call__(self) -> TensorBoard:
        self.may_open.wait(60)
        return TensorBoard(self._folder)


def test_records_arrive_in_order_and_all_of_them_before_it_is_closed(metrics: Metrics, tmp_path: Path) -> None:
    logger = a_posted(metrics, lambda: TensorBoard(tmp_path))

    for step in range(1, 51):
        logger.log(step, {"train/loss": step / 2})
    logger.log_samples(50, [a_row()])
    logger.close()

    assert scalars(tmp_path) == [(step, "train/loss", step / 2) for step in range(1, 51)]
    assert sum(value.HasField("tensor") for event in events(tmp_path) for value in event.summary.value) == 1


def test_whoever_logs_does_not_wait_while_it_opens(metrics: Metrics, tmp_path: Path) -> None:
    held_up = HeldUp(tmp_path)
    logger = a_posted(metrics, held_up)

    logger.log(1, {"train/loss": 0.5})  # returns, though nobody has opened it

    held_up.may_open.set()
    logger.close()
    assert scalars(tmp_path) == [(1, "train/loss", 0.5)]


def test_what_does_not_fit_the_queue_is_counted_and_the_rest_is_written(metrics: Metrics, tmp_path: Path) -> None:
    held_up = HeldUp(tmp_path)
    logger = a_posted(metrics, held_up, max_waiting=2)

    with capture_logs() as told:
        for step in (1, 2, 3, 4, 5):
            logger.log(step, {"train/loss": 0.5})
    held_up.may_open.set()
    logger.close()

    assert [step for step, _tag, _value in scalars(tmp_path)] == [1, 2]
    assert count(metrics, NAME, Failing.TAKE) == 3
    assert [line["reason"] for line in told] == ["LostRecordError: 2 records wait already, which is the limit"]


def test_one_that_opens_at_the_second_attempt_loses_nothing(metrics: Metrics, tmp_path: Path) -> None:
    folder = tmp_path / "tensorboard"
    folder.touch()  # in the way
    is_open = threading.Event()

    def open_logger() -> TensorBoard:
        try:
            opened = TensorBoard(folder)
            is_open.set()
            return opened
        finally:
            if folder.is_file():
                folder.unlink()

    logger = a_posted(metrics, open_logger, pauses_s=(0.0,))
    logger.log(1, {"train/loss": 0.5})
    assert is_open.wait(60)
    logger.close()

    assert count(metrics, NAME, Failing.OPEN) == 1
    assert scalars(folder) == [(1, "train/loss", 0.5)]


def test_one_that_never_opens_is_given_up_and_every_record_is_counted(metrics: Metrics, tmp_path: Path) -> None:
    in_the_way = tmp_path / "tensorboard"
    in_the_way.touch()

    with capture_logs() as told:
        logger = a_posted(metrics, lambda: TensorBoard(in_the_way), pauses_s=(0.0, 0.0))
        for step in (1, 2, 3):
            logger.log(step, {"train/loss": 0.5})
        logger.close()

    assert count(metrics, NAME, Failing.OPEN) in (1, 2, 3)  # closing ends the attempts
    assert count(metrics, NAME, Failing.TAKE) == 3
    assert [line["event"] for line in told if line["event"] == "logger_given_up"] == ["logger_given_up"]


def test_one_that_does_not_end_is_left_behind_at_the_deadline(metrics: Metrics, tmp_path: Path) -> None:
    held_up = HeldUp(tmp_path)
    logger = a_posted(metrics, held_up, close_s=0.01)
    logger.log(1, {"train/loss": 0.5})

    with capture_logs() as told:
        logger.close()

    assert count(metrics, NAME, Failing.CLOSE) == 1
    assert "records still waited after 0.01 s" in told[0]["reason"]
    held_up.may_open.set()


def test_a_record_that_fails_takes_no_other_with_it(metrics: Metrics, tmp_path: Path) -> None:
    logger = a_posted(metrics, lambda: TensorBoard(tmp_path))

    logger.log(1, {"train/loss": "not a number"})
    logger.log(2, {"train/loss": 0.5})
    logger.close()

    assert count(metrics, NAME, Failing.WRITE) == 1
    assert scalars(tmp_path) == [(2, "train/loss", 0.5)]
