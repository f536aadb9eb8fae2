"""Measures how late the event loop runs, which finds code that blocks it.

Owns one timer. Must not know what else the loop does.
"""

import asyncio
import time

from tetrad_telemetry.metrics import Metrics


async def watch_event_loop(metrics: Metrics, *, period_s: float = 0.5) -> None:
    """Observe the lateness of a timer every `period_s` seconds until cancelled."""
    while True:
        due = time.monotonic() + period_s
        await asyncio.sleep(period_s)
        metrics.event_loop_lag.observe(max(0.0, time.monotonic() - due))
