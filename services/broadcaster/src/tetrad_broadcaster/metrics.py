"""Every metric of the broadcaster.

Counters move when something happens; gauges are read from the service's statistics when somebody looks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tetrad_broadcaster.subscribers import Standing
from tetrad_telemetry.labels import Capped, closed
from tetrad_telemetry.metrics import Metrics
from tetrad_wire.messages.weights import WeightTransport


class Phase(StrEnum):
    """Parts of a version's way."""

    GATHER = "gather"
    """The clone of the learner's segment, digests included."""
    READ = "read"
    """From an offer to its release by one engine."""


class ChunkOutcome(StrEnum):
    """What became of a request for a chunk."""

    SENT = "sent"
    REFUSED = "refused"
    """The engine has no right to it, or the version was superseded."""
    HELD_BACK = "held_back"
    """Not answered: the same chunk, or as many as one engine may have, are still on their way to it."""


class Failure(StrEnum):
    """Why a version did not get where it should."""

    TIMEOUT = "timeout"
    """An engine missed its deadline and was quarantined."""
    MISMATCH = "mismatch"
    """A digest was not what the manifest says."""
    UNREACHABLE = "unreachable"
    """A segment could not be attached."""
    BUSY = "busy"
    """Every segment was being read."""
    NO_MEMORY = "no_memory"
    """A segment could not be allocated."""
    CONFLICT = "conflict"
    """The version or its manifest was illegal."""
    DIED = "died"
    """An engine died while it was reading."""
    GIVEN_UP = "given_up"
    """An engine released without having read."""
    GROUP = "group"
    """A process group with an engine failed, died or was late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcasterStatistics:
    """What the service is at this moment."""

    newest: int
    """Newest version; 0 before the first."""
    standings: dict[Standing, int]
    lags: dict[str, int]
    """Versions behind, by replica."""
    num_segments: int
    segment_bytes: int
    num_readers: int
    """Offers that are neither released nor over."""
    num_groups: int = 0
    """Process groups with engines that work."""


class BroadcasterMetrics:
    """Makes the metrics and keeps them."""

    def __init__(self, metrics: Metrics) -> None:
        transport = {"transport": closed(WeightTransport)}
        self._versions = metrics.counters(
            "versions_total", "Versions taken from the learner, or by a relay.", labels=transport
        )
        self._offers = metrics.counters("offers_total", "Offers made to engines.", labels=transport)
        self._chunks = metrics.counters(
            "chunks_total", "Requests for a chunk of a version.", labels={"outcome": closed(ChunkOutcome)}
        )
        self._bytes = metrics.counters("bytes_total", "Bytes read by engines and verified.", labels=transport)
        self._duration = metrics.histograms(
            "duration_seconds", "Time of a version's parts.", labels=transport | {"phase": closed(Phase)}
        )
        self._failures = metrics.counters(
            "failures_total", "Versions that did not get through.", labels={"reason": closed(Failure)}
        )
        self._subscribers = metrics.gauges(
            "subscribers", "Engines, by how they stand to the newest version.", labels={"state": closed(Standing)}
        )
        self._lags = metrics.gauges(
            "subscriber_lag_versions", "Versions that a replica is behind.", labels={"replica": Capped()}
        )
        self._newest = metrics.gauge("newest_version", "Newest version held.")
        self._segments = metrics.gauge("segments", "Shared-memory segments.")
        self._segment_bytes = metrics.gauge("segment_bytes", "Bytes of all segments.")
        self._readers = metrics.gauge("readers", "Engines that may be reading now.")
        self._groups = metrics.gauge("groups", "Process groups with engines that work.")
        self._links = metrics.gauges(
            "link_bandwidth_bytes",
            "Bytes in one second that the newest process group with a replica was proved with.",
            labels={"replica": Capped()},
        )

    def version_taken(self, *, seconds: float, transport: WeightTransport = WeightTransport.SHARED_MEMORY) -> None:
        """A version was cloned from the learner's segment, or fetched by a relay, and verified."""
        self._versions.with_labels(transport=transport).inc()
        self._duration.with_labels(transport=transport, phase=Phase.GATHER).observe(seconds)

    def version_offered(self, transport: WeightTransport) -> None:
        """An engine was told how it can have a version."""
        self._offers.with_labels(transport=transport).inc()

    def chunk(self, outcome: ChunkOutcome) -> None:
        """An engine has asked for a chunk."""
        self._chunks.with_labels(outcome=outcome).inc()

    def version_read(self, transport: WeightTransport, *, num_bytes: int, seconds: float) -> None:
        """An engine has read and verified a version."""
        self._bytes.with_labels(transport=transport).inc(num_bytes)
        self._duration.with_labels(transport=transport, phase=Phase.READ).observe(seconds)

    def link_tested(self, replica: str, *, bytes_per_s: float) -> None:
        """A process group with an engine was proved."""
        self._links.with_labels(replica=replica).set(bytes_per_s)

    def failed(self, reason: Failure) -> None:
        """Something did not get through."""
        self._failures.with_labels(reason=reason).inc()

    def show(self, statistics: BroadcasterStatistics) -> None:
        """Set the gauges."""
        self._newest.set(statistics.newest)
        self._segments.set(statistics.num_segments)
        self._segment_bytes.set(statistics.segment_bytes)
        self._readers.set(statistics.num_readers)
        self._groups.set(statistics.num_groups)
        for standing in Standing:
            self._subscribers.with_labels(state=standing).set(statistics.standings.get(standing, 0))
        self._show_lags(statistics.lags)

    def _show_lags(self, lags: Mapping[str, int]) -> None:
        # A series of a replica that is gone would show its last lag for ever.
        self._lags.metric.clear()
        for replica, lag in lags.items():
            self._lags.with_labels(replica=replica).set(lag)
