"""Code that blocks the event loop shows in the lag."""

import asyncio
import time

from tetrad_telemetry.looplag import watch_event_loop
from tetrad_telemetry.metrics import Metrics


async def test_a_blocked_loop_is_measured():
    metrics = Metrics("rollout", version="0")
    watch = asyncio.create_task(watch_event_loop(metrics, period_s=0.01))
    await asyncio.sleep(0)

    time.sleep(0.1)  # noqa: ASYNC251 - the fault that is to be seen
    await asyncio.sleep(0.02)
    watch.cancel()

    lags = {s.labels["le"]: s.value for m in metrics.event_loop_lag.collect() for s in m.samples if "le" in s.labels}
    assert lags["+Inf"] - lags["0.05"] >= 1
