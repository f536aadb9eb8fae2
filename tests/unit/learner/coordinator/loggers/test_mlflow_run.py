"""The real MLflow with a store of its own in the run's folder; where it is installed: tetrad-learner[mlflow]."""

import json

import pytest
from unit.learner.coordinator.loggers.logger_builders import a_row, a_run_file

from tetrad_learner.coordinator.loggers.mlflow_run import MlflowRun

pytest.importorskip("mlflow")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A run that was logged in two starts, and a client that reads it."""
    from mlflow.tracking import MlflowClient

    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for step, score in ((1, 0.5), (2, 0.75)):
            logger = MlflowRun(a_run_file(folder))
            logger.log(step, {"train/mean_reward": score, "eval/gsm8k@main/mean_reward": score})
            logger.log_samples(step, [a_row(response=f"answer {step}")])
            logger.close()
    return MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture
def run(store):
    experiment = store.get_experiment_by_name("tetrad-tests")
    (run,) = store.search_runs([experiment.experiment_id])
    return run


def test_a_run_that_goes_on_is_one_run_with_name_and_configuration(run) -> None:
    assert run.info.run_name == "demo"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"trainer.seed": "42", "trainer.train_batch_size": "16"}


def test_metrics_are_there_by_step(store, run) -> None:
    history = store.get_metric_history(run.info.run_id, "train/mean_reward")

    assert [(metric.step, metric.value) for metric in history] == [(1, 0.5), (2, 0.75)]
    assert run.data.metrics["eval/gsm8k_main/mean_reward"] == 0.75


def test_samples_are_a_table_of_their_step(store, run) -> None:
    path = store.download_artifacts(run.info.run_id, "samples/step_2.json")

    with open(path) as file:
        table = json.load(file)
    assert table["columns"][-1] == "advantage"
    assert table["data"] == [[3, 1, "user: 2 + 2?", "answer 2", 1.0, 0.5]]
