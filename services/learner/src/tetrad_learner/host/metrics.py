"""Every metric of a host of the learner."""

from tetrad_telemetry.metrics import Metrics


class HostMetrics:
    """Makes the metrics and keeps them."""

    def __init__(self, metrics: Metrics) -> None:
        self.ranks = metrics.gauge("ranks", "Trainer ranks that run on this host.")
        self.sets = metrics.counter("rank_sets_total", "Sets of ranks that this host has started its part of.")
