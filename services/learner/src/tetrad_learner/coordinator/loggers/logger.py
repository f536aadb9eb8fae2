"""What a logger is: takes the figures of a step, and the table of some of its samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tetrad_config.tree import Tree
from tetrad_learner.coordinator.sample_table import TableRow


class MetricLogger(Protocol):
    """Takes records in the order of the run; raises what goes wrong."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one record."""
        ...

    def log_samples(self, step: int, rows: Sequence[TableRow]) -> None:
        """Write the table of some samples of a training step, where the logger shows tables."""
        ...

    def close(self) -> None:
        """Flush and close."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """The run as a tracking service files it."""

    project: str
    """`trainer.project_name`."""
    name: str
    """`trainer.run_name`; shown."""
    run: str
    """The ledger's id of the run: it outlives restarts, so that a run that goes on is one run there too."""
    folder: Path
    """The run's folder."""
    config: Tree
    """The resolved configuration."""
