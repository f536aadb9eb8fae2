"""What a channel has seen; metrics are read from it."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class ChannelStatistics:
    """Counters of one end of a channel, since it was opened."""

    messages_sent: int = 0
    messages_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    send_failures: Counter[str] = field(default_factory=Counter)
    """By reason: gone, full."""
    violations: Counter[str] = field(default_factory=Counter)
    """Messages dropped, by `Violation`."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Handshakes, connections and messages that were turned away, by `Reason`."""
    orphans: int = 0
    """Replies that nobody waited for any more."""
