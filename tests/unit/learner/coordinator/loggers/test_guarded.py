from pathlib import Path

from structlog.testing import capture_logs
from unit.learner.coordinator.loggers.logger_builders import a_disk_with_room_for

from tetrad_learner.coordinator.loggers.guarded import Failing, Failures, Guarded, LoggerName
from tetrad_learner.coordinator.loggers.json_lines import JsonLines
from tetrad_telemetry.metrics import Metrics

COUNTER = "tetrad_learner_logger_failures_total"


def count(metrics: Metrics, logger: LoggerName, failing: Failing) -> float:
    return metrics.registry.get_sample_value(COUNTER, {"logger": logger.value, "failing": failing.value})


def test_a_full_disk_is_counted_each_time_and_told_once(tmp_path: Path) -> None:
    metrics = Metrics("learner", version="1")
    logger = Guarded(LoggerName.JSON_LINES, JsonLines(tmp_path / "metrics.jsonl"), Failures(metrics))

    with a_disk_with_room_for(0), capture_logs() as told:
        for step in (1, 2, 3):
            logger.log(step, {"train/loss": 0.5})

    assert count(metrics, LoggerName.JSON_LINES, Failing.WRITE) == 3
    (line,) = told
    assert (line["event"], line["logger"], line["failing"]) == ("logger_failed", "json_lines", "write")
    assert "File too large" in line["reason"]
    logger.close()


def test_another_kind_of_failure_is_told_as_well() -> None:
    failures = Failures(Metrics("learner", version="1"))

    with capture_logs() as told:
        for error in (OSError("full"), OSError("full"), ConnectionError("gone")):
            failures.note(LoggerName.WANDB, Failing.WRITE, error)
        failures.note(LoggerName.MLFLOW, Failing.WRITE, OSError("full"))

    assert [line["reason"] for line in told] == ["OSError: full", "ConnectionError: gone", "OSError: full"]
