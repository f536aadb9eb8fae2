"""The metrics of one process: typed constructors that refuse a bad name, label or bucket.

Owns the registry of the process. Made inside `main()`, never at import: a process started with `spawn`
imports its parent's main module again, and metrics made there would appear twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, Generic, TypeVar

import prometheus_client as prometheus
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tetrad_telemetry.commit import commit_of
from tetrad_telemetry.labels import Capped, Closed, Label, closed
from tetrad_telemetry.names import NAMESPACE, MetricKind, metric_name

DURATION_BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
LAG_BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)

M = TypeVar("M", Counter, Gauge, Histogram)


@dataclass(frozen=True, slots=True)
class Labelled(Generic[M]):
    """A metric with labels; `with_labels` gives the series of one combination of values."""

    metric: M
    labels: Mapping[str, Label]

    def with_labels(self, **values: str) -> M:
        """Return the series; raises ValueError for a missing, unknown or not permitted label value."""
        if set(values) != set(self.labels):
            raise ValueError(f"labels are {', '.join(self.labels)}; got {', '.join(values) or 'none'}")
        series: M = self.metric.labels(**{k: self.labels[k].admit(v) for k, v in values.items()})
        return series


class Metrics:
    """Makes the metrics of one service and writes them as Prometheus text."""

    def __init__(self, service: str, *, version: str, commit: str | None = None, scope: str | None = None) -> None:
        # The _created series would double the number of counters for nothing that we read.
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # has no annotations
        self.registry: Final = CollectorRegistry()
        self.service: Final = service
        self._scope = service if scope is None else scope
        for collector in (prometheus.ProcessCollector, prometheus.PlatformCollector, prometheus.GCCollector):
            collector(registry=self.registry)
        build = Gauge(
            f"{NAMESPACE}_build_info",
            "Constant 1; says what runs.",
            ["service", "version", "commit"],
            registry=self.registry,
        )
        build.labels(service, version, commit_of() if commit is None else commit).set(1)
        self.service_ready: Final = self.gauge("service_ready", "1 while /readyz says ready.", scope="")
        self.event_loop_lag: Final = self.histogram(
            "event_loop_lag_seconds", "How late the event loop ran a timer.", buckets=LAG_BUCKETS_S, scope=""
        )

    def counter(self, noun: str, documentation: str, *, scope: str | None = None) -> Counter:
        """Make a counter without labels; `noun` ends in _total."""
        return Counter(self._name(noun, MetricKind.COUNTER, scope), documentation, registry=self.registry)

    def gauge(self, noun: str, documentation: str, *, scope: str | None = None) -> Gauge:
        """Make a gauge without labels."""
        return Gauge(self._name(noun, MetricKind.GAUGE, scope), documentation, registry=self.registry)

    def histogram(
        self, noun: str, documentation: str, *, buckets: Sequence[float] = DURATION_BUCKETS_S, scope: str | None = None
    ) -> Histogram:
        """Make a histogram without labels; upper bounds ascend and none is negative."""
        name = self._name(noun, MetricKind.HISTOGRAM, scope)
        return Histogram(name, documentation, buckets=checked_buckets(name, buckets), registry=self.registry)

    def counters(
        self, noun: str, documentation: str, *, labels: Mapping[str, Label], scope: str | None = None
    ) -> Labelled[Counter]:
        """Make a counter for each combination of label values."""
        name = self._name(noun, MetricKind.COUNTER, scope)
        return _labelled(Counter(name, documentation, list(labels), registry=self.registry), labels)

    def gauges(
        self, noun: str, documentation: str, *, labels: Mapping[str, Label], scope: str | None = None
    ) -> Labelled[Gauge]:
        """Make a gauge for each combination of label values."""
        name = self._name(noun, MetricKind.GAUGE, scope)
        return _labelled(Gauge(name, documentation, list(labels), registry=self.registry), labels)

    def histograms(
        self,
        noun: str,
        documentation: str,
        *,
        labels: Mapping[str, Label],
        buckets: Sequence[float] = DURATION_BUCKETS_S,
        scope: str | None = None,
    ) -> Labelled[Histogram]:
        """Make a histogram for each combination of label values."""
        name = self._name(noun, MetricKind.HISTOGRAM, scope)
        bounds = checked_buckets(name, buckets)
        metric = Histogram(name, documentation, list(labels), buckets=bounds, registry=self.registry)
        return _labelled(metric, labels)

    def render(self) -> bytes:
        """Return every metric as Prometheus text, UTF-8."""
        return prometheus.generate_latest(self.registry)

    def _name(self, noun: str, kind: MetricKind, scope: str | None) -> str:
        return metric_name(self._scope if scope is None else scope, noun, kind=kind)


def checked_buckets(name: str, buckets: Sequence[float]) -> tuple[float, ...]:
    """Return the upper bounds, or raise ValueError.

    A negative first bound makes the client drop `_sum` without a word, and with it every mean.
    """
    if not buckets or list(buckets) != sorted(set(buckets)):
        raise ValueError(f"buckets of {name} must ascend and there must be one: {list(buckets)}")
    if buckets[0] < 0:
        raise ValueError(f"histogram {name} has a negative bucket {buckets[0]}; use a gauge for signed values")
    return tuple(buckets)


def _labelled(metric: M, labels: Mapping[str, Label]) -> Labelled[M]:
    sets = [label.values for label in labels.values() if isinstance(label, Closed)]
    if len(sets) == len(labels):
        for values in product(*sets):
            metric.labels(*values)
    return Labelled(metric, labels)


__all__ = ["Capped", "Closed", "Labelled", "Metrics", "closed"]
