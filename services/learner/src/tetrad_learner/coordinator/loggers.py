"""Where metrics go: metrics.jsonl always, the log in the tutorial's line, TensorBoard on request."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TextIO

from tetrad_telemetry.logs import get_logger

log = get_logger(__name__)


class MetricLogger(Protocol):
    """Takes the metrics of a step."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one record."""
        ...

    def close(self) -> None:
        """Flush and close."""
        ...


class JsonLines:
    """One JSON object per record: {"step", "time", "metrics"}."""

    def __init__(self, path: Path) -> None:
        _mend(path)
        self._file: TextIO = path.open("a", encoding="utf-8")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append a line, at once readable by others."""
        record = {"step": step, "time": time.time(), "metrics": dict(metrics)}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Console:
    """`Step 5: train/policy_loss=0.0234, …` as an event of the log."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the line."""
        log.info("step_logged", line=format_line(step, metrics))

    def close(self) -> None:
        """Nothing to close."""


class TensorBoard:
    """Scalars under the run's folder, so that `tensorboard --logdir outputs/` finds them."""

    def __init__(self, folder: Path) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one scalar for each metric."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


def _mend(path: Path) -> None:
    """Cut off the line that a killed writer left unfinished: every line is to be a whole record."""
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with path.open("r+b") as file:
                file.truncate(whole)


def format_line(step: int, metrics: Mapping[str, float]) -> str:
    """The tutorial's line.

    >>> format_line(5, {"eval/all/pass_at_1": 0.26841})
    'Step 5: eval/all/pass_at_1=0.2684'
    """
    return f"Step {step}: " + ", ".join(f"{name}={value:.4f}" for name, value in metrics.items())
