"""The way of the weights, and the wire that everything goes over."""

from typing import Final

from boards.panels import Board, Row, panel
from boards.queries import quantile, rate, series

LISTENING: Final = 'role!="rollout"'

VERSIONS: Final = Row(
    "Versions",
    (
        panel(
            "Who has which version",
            "What the learner wants, what the broadcaster holds, what each engine is certified for.",
            "short",
            (f"max({series('tetrad_learner_weight_version')})", "learner"),
            (f"max({series('tetrad_broadcast_newest_version')})", "broadcaster"),
            (f"max by (replica) ({series('tetrad_rollout_weight_version')})", "{{replica}}"),
        ),
        panel(
            "Lag",
            "Versions by which each engine is behind.",
            "short",
            (
                f"max by (replica) ({series('tetrad_broadcast_subscriber_lag_versions')})",
                "{{replica}}",
            ),
        ),
        panel(
            "Engines",
            "By how they stand to the newest version.",
            "short",
            (f"sum by (state) ({series('tetrad_broadcast_subscribers')})", "{{state}}"),
        ),
    ),
)

TRANSFER: Final = Row(
    "Transfer",
    (
        panel(
            "Time of the parts",
            "p50 and p99: the clone of what the learner published, and an engine's reading.",
            "s",
            (quantile(0.5, "tetrad_broadcast_duration_seconds", by="phase"), "{{phase}} p50"),
            (quantile(0.99, "tetrad_broadcast_duration_seconds", by="phase"), "{{phase}} p99"),
        ),
        panel(
            "Bytes read",
            "By engines, verified, per second.",
            "Bps",
            (rate("tetrad_broadcast_bytes_total", by="transport"), "{{transport}}"),
        ),
        panel(
            "Versions and offers",
            "Versions taken from the learner and offers made to engines, per second.",
            "short",
            (rate("tetrad_broadcast_versions_total"), "versions"),
            (rate("tetrad_broadcast_offers_total", by="transport"), "offers {{transport}}"),
        ),
        panel(
            "Failures",
            "Versions that did not get through, per second, by reason.",
            "short",
            (rate("tetrad_broadcast_failures_total", by="reason"), "{{reason}}"),
        ),
        panel(
            "Shared memory",
            "Bytes of all segments of the broadcaster.",
            "bytes",
            (f"sum({series('tetrad_broadcast_segment_bytes')})", "segments"),
        ),
        panel(
            "Readers and segments",
            "Engines that may be reading now; segments that there are.",
            "short",
            (f"sum({series('tetrad_broadcast_readers')})", "readers"),
            (f"sum({series('tetrad_broadcast_segments')})", "segments"),
        ),
    ),
)

WIRE: Final = Row(
    "Wire",
    (
        panel(
            "Messages",
            "Per second, by the end that counts them.",
            "short",
            (rate("tetrad_zmq_messages_total", by="role, direction"), "{{role}} {{direction}}"),
        ),
        panel(
            "Bytes",
            "Per second; weights in shared memory do not go over the wire.",
            "Bps",
            (rate("tetrad_zmq_bytes_total", by="role, direction"), "{{role}} {{direction}}"),
        ),
        panel(
            "Peers",
            "That said something within 30 seconds, by endpoint.",
            "short",
            (
                f"max by (role, endpoint) ({series('tetrad_zmq_peers', LISTENING)}) > 0",
                "{{role}} at {{endpoint}}",
            ),
        ),
        panel(
            "Messages not sent",
            "Per second: the peer is gone, or its queue is full.",
            "short",
            (rate("tetrad_zmq_send_failures_total", by="reason"), "{{reason}}"),
        ),
        panel(
            "Messages not understood",
            "Per second, by the rule that they broke.",
            "short",
            (rate("tetrad_zmq_decode_failures_total", by="reason"), "{{reason}}"),
        ),
        panel(
            "Lateness of event loops",
            "p99 by role; much of it is code that blocks.",
            "s",
            (quantile(0.99, "tetrad_event_loop_lag_seconds", by="role"), "{{role}}"),
        ),
    ),
)

BOARD: Final = Board(
    uid="tetrad-weights",
    title="Tetrad / Weights and transport",
    about="The way of the weights, and the wire that everything goes over.",
    rows=(VERSIONS, TRANSFER, WIRE),
)
