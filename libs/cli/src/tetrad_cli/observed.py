"""What a run looks like from outside: the launcher's rows, and what each process says on its own pages.

Owns nothing; asks everybody at once, each under a deadline.
"""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tetrad_cli.launch.control import InstanceStatus, Request, ask
from tetrad_cli.launch.probe import Page, get

PAGE_DEADLINE_S: Final = 2.0
WEIGHT_VERSION: Final = re.compile(rb"^tetrad_\w+_(?:weight|newest)_version(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One process."""

    instance: InstanceStatus
    weight_version: int | None
    """Policy version that it runs or has published; None where it has no such metric."""
    ready: str
    """`yes`, or what it waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A run."""

    run: str
    phase: str
    pid: int
    rows: tuple[Row, ...]


async def observe(run_dir: Path, *, deadline_s: float) -> Observed:
    """Ask the launcher and all processes; raises ControlError when the launcher does not answer."""
    reply = await ask(run_dir, Request(op="status"), deadline_s=deadline_s)
    rows = await asyncio.gather(*(_row(instance) for instance in reply.instances))
    return Observed(run=reply.run, phase=reply.phase, pid=reply.pid, rows=tuple(rows))


async def _row(instance: InstanceStatus) -> Row:
    if instance.pid is None:
        return Row(instance=instance, weight_version=None, ready="no process")
    readiness, metrics = await asyncio.gather(
        get(instance.port, instance.ready_path, deadline_s=PAGE_DEADLINE_S),
        get(instance.port, "/metrics", deadline_s=PAGE_DEADLINE_S),
    )
    return Row(instance=instance, weight_version=weight_version(metrics), ready=_readiness(readiness))


def weight_version(page: Page | None) -> int | None:
    """Read the policy version from a metrics page."""
    match = WEIGHT_VERSION.search(page.body) if page is not None and page.is_ok else None
    return int(float(match[1])) if match is not None else None


def _readiness(page: Page | None) -> str:
    if page is None:
        return "no answer"
    return "yes" if page.is_ok else str(page.fields().get("detail", f"no ({page.status})"))
