from collections.abc import Mapping, Sequence

import pytest
from unit.learner.coordinator.loggers.logger_builders import a_row
from unit.learner.coordinator.test_evaluation import a_round

from tetrad_learner.coordinator.core.tables import DropReason
from tetrad_learner.coordinator.figures import Stopwatch
from tetrad_learner.coordinator.reporting import Reporting
from tetrad_learner.coordinator.sample_table import SampleTables, TableRow
from tetrad_telemetry.metrics import Metrics


class Kept:
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[tuple[int, Mapping[str, float]]] = []
        self.tables: list[tuple[int, Sequence[TableRow]]] = []

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.records.append((step, metrics))

    def log_samples(self, step: int, rows: Sequence[TableRow]) -> None:
        self.tables.append((step, rows))

    def close(self) -> None:
        pass


def a_reporting(kept: Kept, **changes) -> Reporting:
    settings = {"samples_per_step": 8, "steps_per_epoch": 4, "tables": SampleTables(interval=5)}
    return Reporting(Metrics("learner", version="1"), [kept], **settings | changes)


def test_an_evaluation_is_logged_once() -> None:
    kept = Kept()
    reporting = a_reporting(kept)

    for _ in range(2):
        reporting.report_evaluation(a_round({0: [1.0, 1.0]}), missing=0)

    assert [step for step, _metrics in kept.records] == [5]


def test_an_evaluation_that_an_earlier_start_has_logged_is_not_logged_again() -> None:
    kept = Kept()

    scores = a_reporting(kept, logged_rounds=[5]).report_evaluation(a_round({0: [1.0, 1.0]}), missing=0)

    assert kept.records == []
    assert scores["eval/all/mean_reward"] == 1.0


def test_dropped_groups_are_counted_by_reason() -> None:
    metrics = Metrics("learner", version="1")
    reporting = Reporting(metrics, [], samples_per_step=8, steps_per_epoch=4, tables=SampleTables(interval=0))

    reporting.note_drops([DropReason.FILTERED, DropReason.FILTERED, DropReason.STALE])

    page = metrics.render().decode()
    assert 'tetrad_learner_groups_dropped_total{reason="filtered"} 2.0' in page
    assert 'tetrad_learner_groups_dropped_total{reason="stale"} 1.0' in page


def test_a_run_that_goes_on_shows_the_checkpoint_that_it_has() -> None:
    metrics = Metrics("learner", version="1")

    Reporting(metrics, [], samples_per_step=8, steps_per_epoch=4, tables=SampleTables(interval=0), checkpoint_step=40)

    assert "tetrad_learner_last_checkpoint_step 40.0" in metrics.render().decode()


def test_a_step_is_logged_under_the_names_of_skyrl_and_of_the_tutorial() -> None:
    kept = Kept()
    reporting = a_reporting(kept)
    reporting.note(5, {"train/mean_reward": 0.5, "reward/avg_raw_reward": 0.5})
    reporting.note_rank(5, {"policy_loss": 0.1, "kl_loss": 0.2, "entropy": 0.3, "grad_norm": 1.0, "lr": 1e-6})

    reporting.report_step(5, Stopwatch())

    ((step, metrics),) = kept.records
    assert step == 5
    assert list(metrics)[:3] == ["train/policy_loss", "train/kl_loss", "train/mean_reward"]
    assert metrics["policy/policy_loss"] == metrics["train/policy_loss"] == 0.1
    assert metrics["policy/policy_kl"] == metrics["train/kl_loss"] == 0.2
    assert metrics["trainer/global_step"] == 5
    assert metrics["trainer/epoch"] == 1  # steps 5 to 8 of 4 an epoch
    assert {"policy/policy_entropy", "policy/grad_norm", "policy/policy_lr", "timing/step"} <= set(metrics)


@pytest.mark.parametrize(("step", "is_shown"), [(1, True), (4, False), (5, True), (10, True)])
def test_samples_are_shown_at_the_first_step_and_every_so_many(step: int, is_shown: bool) -> None:
    assert SampleTables(interval=5).is_due(step) is is_shown


def test_a_table_goes_out_with_its_step_and_once() -> None:
    kept = Kept()
    reporting = a_reporting(kept)

    for _attempt in range(2):
        reporting.tables.open(5, lineage=1, rows=[a_row()])
        reporting.note(5, {"train/mean_reward": 0.5})
        reporting.report_step(5, Stopwatch())

    assert kept.tables == [(5, (a_row(),))]
