"""The real trackio, without network; where it is installed: tetrad-learner[trackio]."""

import sqlite3

import pytest
from unit.learner.coordinator.loggers.logger_builders import a_row, a_run_file

from tetrad_learner.coordinator.loggers.trackio_run import TrackioRun


@pytest.fixture
def folder(monkeypatch, tmp_path):
    # Read when the package is imported.
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    pytest.importorskip("trackio")
    return tmp_path


def test_metrics_and_samples_of_a_run_that_goes_on_are_one_run(folder) -> None:
    for step in (1, 2):
        logger = TrackioRun(a_run_file(folder))
        logger.log(step, {"train/mean_reward": step / 2})
        logger.log_samples(step, [a_row(response=f"answer {step}")])
        logger.close()

    with sqlite3.connect(folder / "tetrad-tests.db") as database:
        rows = database.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step").fetchall()
    assert {run for run, _step, _metrics in rows} == {"demo-1a2b3c4d"}
    assert [step for _run, step, metrics in rows if "train/mean_reward" in str(metrics)] == [1, 2]
    assert "answer 2" in "".join(str(metrics) for _run, _step, metrics in rows)
