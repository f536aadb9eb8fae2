"""MLflow: the run under a tag with the ledger's id, in the store that MLFLOW_TRACKING_URI names or in the run's folder.

The only importer of mlflow.
"""

import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tetrad_config.tree import leaves
from tetrad_learner.coordinator.loggers.logger import RunFile
from tetrad_learner.coordinator.sample_table import COLUMNS, TableRow
from tetrad_telemetry.logs import get_logger

log = get_logger(__name__)

STORE: Final = "MLFLOW_TRACKING_URI"
TAG: Final = "tetrad.run"
# Limits of MLflow: of one request, and of one value.
MAX_PARAMETERS: Final = 100
MAX_VALUE: Final = 6000
STRANGE: Final = re.compile(r"[^\w\-. :/]")


class MlflowRun:
    """One MLflow run; found again by its tag when the run goes on."""

    def __init__(self, run: RunFile) -> None:
        from mlflow.tracking import MlflowClient

        uri = os.environ.get(STORE) or f"sqlite:///{run.folder.absolute() / 'mlflow.db'}"
        self._client: Any = MlflowClient(tracking_uri=uri)
        self._id = self._found(run) or self._created(run)
        log.info("mlflow_run_opened", store=uri, run_id=self._id)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log one record."""
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        # MLflow takes fewer characters in names than file names have.
        named = [Metric(STRANGE.sub("_", name), float(value), now, step) for name, value in metrics.items()]
        self._client.log_batch(self._id, metrics=named)

    def log_samples(self, step: int, rows: Sequence[TableRow]) -> None:
        """Log the table as an artifact, in the form of MLflow's own tables."""
        table = {"columns": list(COLUMNS), "data": [list(row.cells) for row in rows]}
        self._client.log_dict(self._id, table, f"samples/step_{step}.json")

    def close(self) -> None:
        """Mark the run as finished; one that goes on is marked as running again."""
        self._client.set_terminated(self._id)

    def _found(self, run: RunFile) -> str | None:
        experiment = self._client.get_experiment_by_name(run.project)
        if experiment is None:
            return None
        known = self._client.search_runs([experiment.experiment_id], f"tags.`{TAG}` = '{run.run}'")
        if not known:
            return None
        found = str(known[0].info.run_id)
        self._client.update_run(found, status="RUNNING")
        return found

    def _created(self, run: RunFile) -> str:
        from mlflow.entities import Param

        experiment = self._client.get_experiment_by_name(run.project)
        where = None if os.environ.get(STORE) else (run.folder.absolute() / "mlflow-artifacts").as_uri()
        number = experiment.experiment_id if experiment else self._client.create_experiment(run.project, where)
        made = str(self._client.create_run(number, run_name=run.name, tags={TAG: run.run}).info.run_id)
        params = [Param(key, str(value)[:MAX_VALUE]) for key, value in leaves(run.config)]
        for begin in range(0, len(params), MAX_PARAMETERS):
            self._client.log_batch(made, params=params[begin : begin + MAX_PARAMETERS])
        return made
