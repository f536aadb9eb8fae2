"""What the watch over waits exports and logs, as a core goes through steps that take their time."""

import json

import pytest
from structlog.testing import capture_logs
from unit.learner.coordinator.core.core_harness import ENGINE, Harness

from tetrad_learner.coordinator.registry import Registry
from tetrad_learner.coordinator.wait_watch import WaitMetrics, WaitWatch
from tetrad_telemetry.metrics import Metrics
from tetrad_wire.ids import RunId

USUAL_S = 40.0


class Watched:
    """A core that trains, and its watch."""

    def __init__(self, **config: object) -> None:
        self.run = Harness(num_steps=100, **config)
        self.metrics = Metrics("learner", version="1")
        self.watch = WaitWatch(self.run.core, Registry(RunId("r")), WaitMetrics(self.metrics), ranks=lambda: None)
        self._version = self.run.begin()
        self._step = 0
        self.look()
        self.run.certify()
        self.look()

    def look(self, *, after_s: float = 0.0) -> None:
        """Look again, some time later."""
        self.run.wait(after_s)
        self.watch.look(self.run.now)

    def execute_for(self, seconds: float) -> None:
        """A step is sealed, and its ranks have had it for so long."""
        leases = [lease.key.draw for lease in self.run.core.leases.of_engine(ENGINE)]
        self.run.fill(*sorted(leases)[:2], version=self._version)
        self.look()
        self.run.journal()
        self.look()
        self.look(after_s=seconds)

    def end_step(self) -> None:
        """The ranks are done, and engines have the new weights."""
        self._step += 1
        self.run.execute()
        self.look()
        self._version = self.run.publish(f"w{self._step}")
        self.look()
        self.run.certify(digest=f"w{self._step}")
        self.look()

    def value(self, series: str) -> float:
        """Of a series on the page."""
        lines = (line.rpartition(" ") for line in self.metrics.render().decode().splitlines())
        return next(float(value) for name, _, value in lines if name == f"tetrad_learner_{series}")


def after_usual_steps() -> Watched:
    """Three steps took as long as usual, and the fourth has just begun."""
    watched = Watched()
    for _step in range(3):
        watched.execute_for(USUAL_S)
        watched.end_step()
    watched.execute_for(0.0)
    return watched


def test_a_wait_below_its_usual_is_no_long_wait_though_it_is_beyond_the_floor() -> None:
    watched = after_usual_steps()

    with capture_logs() as told:
        watched.look(after_s=USUAL_S - 1.0)

    assert [line for line in told if line["event"] == "long_wait"] == []
    assert watched.value('wait_seconds{reason="train"}') == USUAL_S - 1.0
    assert watched.value('wait_usual_seconds{reason="train"}') == USUAL_S


def test_a_wait_that_passes_its_usual_is_logged_once_and_counted() -> None:
    watched = after_usual_steps()
    before = watched.value('long_waits_total{reason="train"}')

    with capture_logs() as told:
        watched.look(after_s=USUAL_S - 1.0)
        watched.look(after_s=2.0)
        watched.look(after_s=2.0)

    (line,) = [line for line in told if line["event"] == "long_wait"]
    assert (line["reason"], line["seconds"], line["usual_s"], line["on"]) == ("train", 41.0, 40.0, "learner")
    assert line["why"].startswith("The learner has waited 41.0 s for its ranks to execute step 4")
    assert line["log_level"] == "warning"
    assert watched.value('long_waits_total{reason="train"}') - before == 1
    assert watched.value('wait_seconds{reason="train"}') == 43.0


def test_what_is_not_waited_for_any_more_has_an_age_of_zero_and_its_duration_is_kept() -> None:
    watched = Watched()
    watched.execute_for(7.0)

    watched.end_step()
    watched.look(after_s=3.0)

    assert watched.value('wait_seconds{reason="train"}') == 0.0
    assert watched.value('wait_seconds{reason="generation"}') == 3.0
    assert watched.value('wait_duration_seconds_sum{reason="train"}') == 7.0
    assert watched.value('wait_duration_seconds_count{reason="train"}') == 1


@pytest.mark.parametrize("max_staleness", [0, 1])
def test_the_age_of_the_oldest_lease_is_exported_and_on_the_page(max_staleness: int) -> None:
    watched = Watched(max_staleness=max_staleness)
    watched.look(after_s=4.0)
    while_generating = watched.value("oldest_lease_seconds")

    watched.execute_for(5.0)

    assert while_generating == 4.0
    # Ahead of the step that is executed there is work only where it may be stale.
    assert watched.value("oldest_lease_seconds") == (9.0 if max_staleness else 0.0)
    lease = json.loads(watched.watch.page(watched.run.now))["lease"]
    assert (lease["age_s"] if lease else 0.0) == watched.value("oldest_lease_seconds")
