"""The metrics of a service's ZeroMQ channels, read from their statistics when they are scraped.

One place for all services, so that a dropped message is counted under the same name everywhere.
"""

from collections import Counter
from typing import Final

from tetrad_telemetry.metrics import Metrics, closed
from tetrad_transport import ChannelStatistics
from tetrad_transport.refusal import Reason
from tetrad_transport.statistics import PRESENT_S
from tetrad_wire.errors import Violation

ENDPOINTS: Final = ("coordinator", "reward", "broadcaster")
SENT: Final = "sent"
RECEIVED: Final = "received"


class ChannelMetrics:
    """Counters by endpoint; `update` adds what has come since the last time."""

    def __init__(self, metrics: Metrics) -> None:
        endpoint, direction = closed(ENDPOINTS), closed((SENT, RECEIVED))
        self._messages = metrics.counters(
            "zmq_messages_total", "Messages.", labels={"endpoint": endpoint, "direction": direction}, scope=""
        )
        self._bytes = metrics.counters(
            "zmq_bytes_total", "Bytes of frames.", labels={"endpoint": endpoint, "direction": direction}, scope=""
        )
        self._send_failures = metrics.counters(
            "zmq_send_failures_total",
            "Messages that a peer could not take.",
            labels={"endpoint": endpoint, "reason": closed(("gone", "full"))},
            scope="",
        )
        self._decode_failures = metrics.counters(
            "zmq_decode_failures_total",
            "Messages dropped because they broke the protocol.",
            labels={"endpoint": endpoint, "reason": closed(Violation)},
            scope="",
        )
        self._refusals = metrics.counters(
            "zmq_refusals_total",
            "Handshakes, connections and messages that were turned away; the log says who.",
            labels={"endpoint": endpoint, "reason": closed(Reason)},
            scope="",
        )
        self._peers = metrics.gauges(
            "zmq_peers",
            f"Peers that said something within the last {PRESENT_S:.0f} s.",
            labels={"endpoint": endpoint},
            scope="",
        )
        self._seen: Counter[tuple[str, ...]] = Counter()

    def update(self, endpoint: str, statistics: ChannelStatistics) -> None:
        """Count what the channel to or at `endpoint` has done since the last call."""
        for direction, messages, num_bytes in (
            (SENT, statistics.messages_sent, statistics.bytes_sent),
            (RECEIVED, statistics.messages_received, statistics.bytes_received),
        ):
            series = {"endpoint": endpoint, "direction": direction}
            self._messages.with_labels(**series).inc(self._new("messages", endpoint, direction, total=messages))
            self._bytes.with_labels(**series).inc(self._new("bytes", endpoint, direction, total=num_bytes))
        self._peers.with_labels(endpoint=endpoint).set(statistics.num_peers())
        for reason, count in statistics.send_failures.items():
            new = self._new("send", endpoint, reason, total=count)
            self._send_failures.with_labels(endpoint=endpoint, reason=reason).inc(new)
        for reason, count in statistics.violations.items():
            new = self._new("decode", endpoint, reason, total=count)
            self._decode_failures.with_labels(endpoint=endpoint, reason=reason).inc(new)
        for reason, count in statistics.refusals.items():
            new = self._new("refusal", endpoint, reason, total=count)
            self._refusals.with_labels(endpoint=endpoint, reason=reason).inc(new)

    def _new(self, *series: str, total: int) -> int:
        new = max(0, total - self._seen[series])
        self._seen[series] = total
        return new
