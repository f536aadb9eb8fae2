"""TensorBoard: event files under the run's folder, so that `tensorboard --logdir outputs/` finds them."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tetrad_learner.coordinator.loggers.markdown import markdown_table
from tetrad_learner.coordinator.sample_table import TableRow


class TensorBoard:
    """Writes scalars and texts, and has each record on the disk before it returns.

    tensorboardX's SummaryWriter writes from a thread of its own: that dies of a full disk without a word, and whoever
    logs then waits for ever. Its parts are used without it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None
        self._reopen()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one scalar for each metric."""
        from tensorboardX.summary import scalar

        self._write(step, [scalar(name, value) for name, value in metrics.items()])

    def log_samples(self, step: int, rows: Sequence[TableRow]) -> None:
        """Write the table as text."""
        from tensorboardX.summary import text

        self._write(step, [text("samples", markdown_table(rows))])

    def close(self) -> None:
        """Flush and close."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, step: int, summaries: Sequence[Any]) -> None:
        from tensorboardX.proto.event_pb2 import Event

        if self._writer is None:
            self._reopen()
        try:
            for summary in summaries:
                self._writer.write_event(Event(wall_time=time.time(), step=step, summary=summary))
            self._writer.flush()
        except OSError:
            # What was written in part ends a file for its readers; the next record begins another.
            broken, self._writer = self._writer, None
            with suppress(OSError):
                broken.close()
            raise

    def _reopen(self) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        self._folder.mkdir(parents=True, exist_ok=True)
        # Names hold whole seconds: a second file within one would go on in the first.
        self._writer = EventsWriter(str(self._folder / "events"), f".{time.monotonic_ns()}")
