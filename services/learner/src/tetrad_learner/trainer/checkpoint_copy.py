"""One rank's copy of a checkpoint, and the thread that writes it while training goes on.

Owns the group over which the writers of all ranks agree, so that they never meet the trainer's own collectives. Must
not know who wants the checkpoint or when it counts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import torch
import torch.distributed as dist

from tetrad_learner.trainer.checkpoint import TrainerCopy
from tetrad_learner.trainer.hf_folder import HfCopy

# The coordinator gives the ranks up before that; here so that no thread waits for ever.
WRITE_TIMEOUT: Final = timedelta(hours=1)

OnWritten = Callable[[BaseException | None], None]
"""Called by the writing thread at its end, with the error where there was one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointCopy:
    """What one rank writes of a checkpoint, in memory that training does not touch."""

    hf: HfCopy | None
    """On rank 0 only."""
    trainer: TrainerCopy
    group: dist.ProcessGroup

    def write(self, folder: Path) -> None:
        """Write into `folder`; collective over `group`; one at a time. Raises on every rank where one of them fails."""
        failure: OSError | None = None
        try:
            if self.hf is not None:
                self.hf.write(folder)
                self.trainer.write_position(folder)
        except OSError as error:
            failure = error
        self._agree(failure)
        self.trainer.write_tensors(folder, self.group)

    def _agree(self, failure: OSError | None) -> None:
        """Let every rank know of a failure that only rank 0 can have: the others must not wait for it."""
        num_failed = torch.tensor([failure is not None], dtype=torch.int32)
        dist.all_reduce(num_failed, group=self.group)
        if failure is not None:
            raise failure
        if num_failed.item():
            raise OSError("rank 0 could not write its part")


class WriterBusyError(RuntimeError):
    """The former checkpoint is still being written."""


class CheckpointWriter:
    """Writes one copy at a time in a thread of its own."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a copy is being written."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, copy: CheckpointCopy, folder: Path, *, on_written: OnWritten) -> None:
        """Start writing; raises WriterBusyError while another copy is written."""
        if self.is_busy:
            raise WriterBusyError(f"{folder} cannot be begun: the former checkpoint is still being written")

        def write() -> None:
            try:
                copy.write(folder)
            except Exception as error:
                on_written(error)
            else:
                on_written(None)

        # A daemon: a rank that is told to leave does not wait for a checkpoint that nobody will complete.
        self._thread = threading.Thread(target=write, name="checkpoint-writer", daemon=True)
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the writing to end; return whether it has."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return not self.is_busy


def writing_group() -> dist.ProcessGroup:
    """Make the group of all ranks' writers; collective, once per trainer."""
    group = dist.new_group(backend="gloo", timeout=WRITE_TIMEOUT)
    assert isinstance(group, dist.ProcessGroup)
    return group
