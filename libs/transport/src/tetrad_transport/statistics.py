"""What a channel has seen; metrics are read from it."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

# A peer that is there says something every few seconds: its heartbeat, if nothing else.
PRESENT_S: Final = 30.0
# Peers that are remembered; whoever invents names makes us forget, not grow.
MAX_PEERS: Final = 4096


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
    _heard: dict[bytes, float] = field(default_factory=dict)
    """When each peer was heard last, on the monotonic clock; the longest silent first."""

    def hear(self, peer: bytes) -> None:
        """Note that a peer has said something."""
        self._heard.pop(peer, None)
        self._heard[peer] = time.monotonic()
        if len(self._heard) > MAX_PEERS:
            self._heard.pop(next(iter(self._heard)))

    def num_peers(self, *, within_s: float = PRESENT_S) -> int:
        """Peers that were heard within so many seconds."""
        since = time.monotonic() - within_s
        return sum(at >= since for at in self._heard.values())
