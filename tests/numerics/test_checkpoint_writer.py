"""A checkpoint is copied at once and written while training goes on; what is on disk is the moment of the copy."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from numerics.trainer_builders import AStep, exported, options

from tetrad_learner.trainer.checkpoint_copy import CheckpointCopy, CheckpointWriter, WriterBusyError
from tetrad_learner.trainer.engine import Trainer

pytestmark = pytest.mark.usefixtures("lone_rank")

DEADLINE_S = 30.0


class HeldBack:
    """A copy whose writing waits until it is let go."""

    def __init__(self, copy: CheckpointCopy) -> None:
        self._copy = copy
        self.go = threading.Event()

    def write(self, folder: Path) -> None:
        assert self.go.wait(DEADLINE_S)
        self._copy.write(folder)


def test_what_is_written_is_what_was_copied_whatever_was_trained_meanwhile(model: Path, tmp_path: Path) -> None:
    trainer = Trainer.create(options(model))
    trainer.execute(AStep(seed=0).share())
    expected = exported(trainer).copy()
    held = HeldBack(trainer.copy(step=1, lineage=3))
    writer, outcomes = CheckpointWriter(), []
    writer.begin(held, tmp_path, on_written=outcomes.append)  # type: ignore[arg-type]  # all that it needs of one

    trainer.execute(AStep(seed=1, step=2).share())
    held.go.set()
    assert writer.join(DEADLINE_S)

    resumed = Trainer.create(options(model))
    position = resumed.load(tmp_path)
    assert outcomes == [None]
    assert (position.step, position.lineage, position.optimizer_steps) == (1, 3, 1)
    assert np.array_equal(exported(resumed), expected)
    assert not np.array_equal(exported(trainer), expected)


def test_two_checkpoints_are_not_written_at_once(tied_model: Path, tmp_path: Path) -> None:
    trainer = Trainer.create(options(tied_model))
    held = HeldBack(trainer.copy(step=0, lineage=0))
    writer = CheckpointWriter()
    writer.begin(held, tmp_path / "first", on_written=lambda _error: None)  # type: ignore[arg-type]

    with pytest.raises(WriterBusyError, match="the former checkpoint is still being written"):
        writer.begin(trainer.copy(step=0, lineage=0), tmp_path / "second", on_written=lambda _error: None)

    held.go.set()
    assert writer.join(DEADLINE_S)


def test_a_disk_that_cannot_be_written_to_is_reported(tied_model: Path, tmp_path: Path) -> None:
    trainer = Trainer.create(options(tied_model))
    (tmp_path / "occupied").write_text("a file where a folder should be")
    writer, outcomes = CheckpointWriter(), []

    writer.begin(trainer.copy(step=0, lineage=0), tmp_path / "occupied", on_written=outcomes.append)

    assert writer.join(DEADLINE_S)
    assert isinstance(outcomes[0], FileExistsError)
