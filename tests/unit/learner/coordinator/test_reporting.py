from collections.abc import Mapping

from unit.learner.coordinator.test_evaluation import a_round

from tetrad_learner.coordinator.core.tables import DropReason
from tetrad_learner.coordinator.reporting import Reporting
from tetrad_telemetry.metrics import Metrics


class Kept:
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[tuple[int, Mapping[str, float]]] = []

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.records.append((step, metrics))

    def close(self) -> None:
        pass


def a_reporting(kept: Kept, **changes) -> Reporting:
    return Reporting(Metrics("learner", version="1"), [kept], samples_per_step=8, **changes)


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
    reporting = Reporting(metrics, [], samples_per_step=8)

    reporting.note_drops([DropReason.FILTERED, DropReason.FILTERED, DropReason.STALE])

    page = metrics.render().decode()
    assert 'tetrad_learner_groups_dropped_total{reason="filtered"} 2.0' in page
    assert 'tetrad_learner_groups_dropped_total{reason="stale"} 1.0' in page
