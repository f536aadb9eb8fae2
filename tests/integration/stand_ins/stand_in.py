"""A service that does nothing but be there: real settings, real pages, real signals."""

import asyncio
import json
import os
import sys
import time
from typing import TypeVar

from tetrad_config.process import ServiceSettings
from tetrad_config.run import RunConfig
from tetrad_runtime.entry import Entry
from tetrad_runtime.exits import EngineFault
from tetrad_runtime.lifecycle import Event, Lifecycle
from tetrad_telemetry.exporter import Pages, serve
from tetrad_telemetry.logs import get_logger
from tetrad_telemetry.metrics import Metrics

S = TypeVar("S", bound=ServiceSettings)
log = get_logger(__name__)


def enter(service: str, settings: type[S]) -> None:
    entry = Entry(service=service, summary="A stand-in.", settings=settings, serve="stand_in:be_there")
    sys.exit(entry.main(sys.argv[1:], os.environ))


async def be_there(settings: ServiceSettings, _run_config: RunConfig, drain: asyncio.Event) -> None:
    if os.environ.get("STAND_IN_FAULT") == settings.name:
        raise EngineFault("the engine is on fire")
    life = Lifecycle()
    metrics = Metrics(settings.name.split("-")[0], version="0")
    metrics.gauge("weight_version", "Policy version.").set(7)
    pages = Pages(metrics=metrics.render, health=life.health, readiness=life.readiness)
    async with serve(pages, port=settings.metrics_port):
        life.handle(Event.BECAME_READY)
        log.info("stand_in_ready", endpoint=getattr(settings, "bind", None))
        if settings.name == "learner":
            await _train(settings, drain)
        else:
            await drain.wait()
    log.info("stand_in_drained")


async def _train(settings: ServiceSettings, drain: asyncio.Event) -> None:
    step = 0
    (settings.run_dir / "ledger.sqlite").touch()
    goal = int(os.environ.get("STAND_IN_STEPS", "1000000"))
    with (settings.run_dir / "metrics.jsonl").open("a", buffering=1) as file:
        while step < goal and not drain.is_set():
            step += 1
            metrics = {"train/mean_reward": step / 100, "timing/train": 0.01, "timing/generate": 0.02}
            file.write(json.dumps({"step": step, "time": time.time(), "metrics": metrics}) + "\n")
            await asyncio.sleep(0.01)
    summary = {"accuracy_before": 0.28, "accuracy_after": 0.91, "seconds": 3.0, "steps": step}
    (settings.run_dir / "summary.json").write_text(json.dumps(summary))
