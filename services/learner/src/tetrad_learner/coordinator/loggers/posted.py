"""A logger of somebody else's, in a thread of its own: whoever logs never waits for a disk or a server.

Owns the queue and its bound, and how often an opening is tried.
"""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from typing import Final

from tetrad_learner.coordinator.loggers.guarded import Failing, Failures, LoggerName
from tetrad_learner.coordinator.loggers.logger import MetricLogger
from tetrad_learner.coordinator.sample_table import TableRow
from tetrad_telemetry.logs import get_logger

log = get_logger(__name__)

# Records that may wait: hours of a run, while a server is away.
MAX_WAITING: Final = 4096
# Between attempts to open it; one attempt more than there are pauses.
PAUSES_S: Final = (5.0, 60.0)
# For what still waits when the run ends; within the drain's deadline.
CLOSE_S: Final = 20.0

Work = Callable[[MetricLogger], None]


class LostRecordError(Exception):
    """A record that the logger will never see."""


class Posted:
    """Hands records over in order; counts those that are lost."""

    def __init__(
        self,
        name: LoggerName,
        open_logger: Callable[[], MetricLogger],
        failures: Failures,
        *,
        max_waiting: int = MAX_WAITING,
        pauses_s: Sequence[float] = PAUSES_S,
        close_s: float = CLOSE_S,
    ) -> None:
        self._name, self._open, self._failures = name, open_logger, failures
        self._pauses_s, self._close_s = pauses_s, close_s
        self._waiting: queue.Queue[Work | None] = queue.Queue(max_waiting)
        self._is_closing = threading.Event()
        self._is_given_up = False
        # Its log lines name run and service as all others do.
        bound = copy_context()
        self._thread = threading.Thread(target=bound.run, args=(self._run,), name=f"logger-{name}", daemon=True)
        self._thread.start()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Hand one record over."""
        kept = dict(metrics)
        self._post(lambda logger: logger.log(step, kept))

    def log_samples(self, step: int, rows: Sequence[TableRow]) -> None:
        """Hand a table over."""
        self._post(lambda logger: logger.log_samples(step, rows))

    def close(self) -> None:
        """Have what waits written and the logger closed, or give up at the deadline. Blocks: use a thread."""
        self._is_closing.set()
        try:
            self._waiting.put(None, timeout=self._close_s)
        except queue.Full:
            pass
        else:
            self._thread.join(self._close_s)
        if self._thread.is_alive():
            left = f"{self._waiting.qsize()} records still waited after {self._close_s:g} s"
            self._failures.note(self._name, Failing.CLOSE, LostRecordError(left))

    def _post(self, work: Work) -> None:
        if self._is_given_up:
            self._failures.note(self._name, Failing.TAKE, LostRecordError("it could not be opened"))
            return
        try:
            self._waiting.put_nowait(work)
        except queue.Full:
            full = LostRecordError(f"{self._waiting.maxsize} records wait already, which is the limit")
            self._failures.note(self._name, Failing.TAKE, full)

    def _run(self) -> None:
        logger = self._opened()
        while (work := self._waiting.get()) is not None:
            if logger is None:
                self._failures.note(self._name, Failing.TAKE, LostRecordError("it could not be opened"))
            else:
                self._attempt(Failing.WRITE, work, logger)
        if logger is not None:
            self._attempt(Failing.CLOSE, lambda opened: opened.close(), logger)

    def _opened(self) -> MetricLogger | None:
        """Open it, in a few attempts; records wait meanwhile."""
        for pause_s in (*self._pauses_s, None):
            try:
                return self._open()
            except Exception as error:  # somebody else's library and server: anything may come
                self._failures.note(self._name, Failing.OPEN, error)
            if pause_s is None or self._is_closing.wait(pause_s):
                break
        self._is_given_up = True
        log.error("logger_given_up", logger=self._name.value)
        return None

    def _attempt(self, failing: Failing, work: Work, logger: MetricLogger) -> None:
        try:
            work(logger)
        except Exception as error:  # as above
            self._failures.note(self._name, failing, error)
