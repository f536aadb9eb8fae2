"""Failures of loggers: counted each time, told once of each kind. None of them stops a run."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from tetrad_learner.coordinator.loggers.logger import MetricLogger
from tetrad_learner.coordinator.sample_table import TableRow
from tetrad_telemetry.logs import get_logger
from tetrad_telemetry.metrics import Metrics, closed

log = get_logger(__name__)


class LoggerName(StrEnum):
    """Every logger there is."""

    JSON_LINES = "json_lines"
    CONSOLE = "console"
    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    MLFLOW = "mlflow"
    TRACKIO = "trackio"


class Failing(StrEnum):
    """What a logger was asked to do when it failed."""

    OPEN = "open"
    WRITE = "write"
    TAKE = "take"
    """More waits than it may hold, or it was given up: the record is lost."""
    CLOSE = "close"


class Failures:
    """Counts and tells; used by the threads of all loggers."""

    def __init__(self, metrics: Metrics) -> None:
        self._counters = metrics.counters(
            "logger_failures_total",
            "Records that a logger could not take or write, and times that it could not be opened or closed.",
            labels={"logger": closed(LoggerName), "failing": closed(Failing)},
        )
        self._told: set[tuple[LoggerName, Failing, str]] = set()

    def note(self, name: LoggerName, failing: Failing, error: Exception) -> None:
        """Count a failure; tell it unless one of its kind was told before."""
        self._counters.with_labels(logger=name.value, failing=failing.value).inc()
        kind = (name, failing, type(error).__name__)
        if kind not in self._told:
            self._told.add(kind)
            reason = f"{type(error).__name__}: {error}"
            log.error("logger_failed", logger=name.value, failing=failing.value, reason=reason)


class Guarded:
    """A logger of ours that writes at once: a disk that is full loses records, not the run."""

    def __init__(self, name: LoggerName, logger: MetricLogger, failures: Failures) -> None:
        self._name, self._logger, self._failures = name, logger, failures

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one record."""
        try:
            self._logger.log(step, metrics)
        except OSError as error:
            self._failures.note(self._name, Failing.WRITE, error)

    def log_samples(self, step: int, rows: Sequence[TableRow]) -> None:
        """Write a table."""
        try:
            self._logger.log_samples(step, rows)
        except OSError as error:
            self._failures.note(self._name, Failing.WRITE, error)

    def close(self) -> None:
        """Flush and close."""
        try:
            self._logger.close()
        except OSError as error:
            self._failures.note(self._name, Failing.CLOSE, error)
