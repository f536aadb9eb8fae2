"""trackio: the run under the ledger's id, in trackio's own folder (TRACKIO_DIR) or where its variables point.

The only importer of trackio.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tetrad_learner.coordinator.loggers.logger import RunFile
from tetrad_learner.coordinator.sample_table import COLUMNS, TableRow


class TrackioRun:
    """One trackio run; `trackio show` shows it."""

    def __init__(self, run: RunFile) -> None:
        import trackio

        self._trackio = trackio
        # Its runs are known by their names alone: that of a run begun anew must be new.
        self._run: Any = trackio.init(
            project=run.project,
            name=run.run,
            config={**run.config, "run_name": run.name},
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log one record."""
        self._run.log(dict(metrics), step=step)

    def log_samples(self, step: int, rows: Sequence[TableRow]) -> None:
        """Log the table."""
        table = self._trackio.Table(columns=list(COLUMNS), data=[list(row.cells) for row in rows])
        self._run.log({"samples": table}, step=step)

    def close(self) -> None:
        """Write what is left."""
        self._run.finish()
