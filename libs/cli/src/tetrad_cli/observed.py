"""What a run looks like from outside: the launcher's rows, and what each process says on its own pages.

Owns nothing; asks everybody at once, each under a deadline.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tetrad_cli.launch.control import InstanceStatus, Request, ask
from tetrad_cli.launch.logfiles import last_lines
from tetrad_cli.launch.probe import Page, get
from tetrad_cli.launch.proc import is_frozen
from tetrad_cli.live.progress import TOKENS_PER_S
from tetrad_cli.live.record import parse
from tetrad_cli.waits import LEARNER, Waits, waits_of

PAGE_DEADLINE_S: Final = 2.0
WEIGHT_VERSION: Final = re.compile(rb"^tetrad_\w+_(?:weight|newest)_version(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
GENERATED: Final = re.compile(rb"^tetrad_rollout_generated_tokens_total(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
RELEASE: Final = re.compile(rb'^tetrad_build_info\{[^}]*version="([^"]*)"[^}]*\} 1', re.MULTILINE)
# Records of a step are short; evaluations stand between them.
RECENT_RECORDS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One process."""

    instance: InstanceStatus
    weight_version: int | None
    """Policy version that it runs or has published; None where it has no such metric."""
    ready: str
    """`yes`, or what it waits for."""
    release: str = ""
    """Version of its program; empty where it does not say."""
    lag_steps: int | None = None
    """Training steps that a rollout's weights lag behind the newest; None for other roles, and before it has any."""
    num_leases: int | None = None
    """Groups that a rollout is working on."""
    generated_tokens: float | None = None
    """Tokens of finished samples, since a rollout's start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A run."""

    run: str
    phase: str
    pid: int
    rows: tuple[Row, ...]
    waits: Waits
    """What the learner waits for."""
    tokens_per_s: float | None = None
    """Of the newest training step; None before the first."""
    rollout_tokens_per_s: Mapping[str, float] = field(default_factory=dict)
    """By rollout, over the last seconds; empty where it was looked at once only."""


async def observe(run_dir: Path, *, deadline_s: float) -> Observed:
    """Ask the launcher and all processes; raises ControlError when the launcher does not answer."""
    reply = await ask(run_dir, Request(op="status"), deadline_s=deadline_s)
    learner = next((one for one in reply.instances if one.role == LEARNER), None)
    waits, *rows = await asyncio.gather(waits_of(learner), *(_row(instance) for instance in reply.instances))
    assert isinstance(waits, Waits)
    return Observed(
        run=reply.run,
        phase=reply.phase,
        pid=reply.pid,
        rows=tuple(_with_rollout(row, waits) for row in rows if isinstance(row, Row)),
        waits=waits,
        tokens_per_s=newest_tokens_per_s(run_dir),
    )


def newest_tokens_per_s(run_dir: Path) -> float | None:
    """Return the speed of the newest training step that is in the logs."""
    for line in reversed(last_lines(run_dir / "metrics.jsonl", RECENT_RECORDS)):
        record = parse(line)
        if record is not None and TOKENS_PER_S in record.metrics:
            return record.metrics[TOKENS_PER_S]
    return None


async def _row(instance: InstanceStatus) -> Row:
    if instance.pid is None:
        return Row(instance=instance, weight_version=None, ready="no process")
    readiness, metrics = await asyncio.gather(
        get(instance.port, instance.ready_path, deadline_s=PAGE_DEADLINE_S),
        get(instance.port, "/metrics", deadline_s=PAGE_DEADLINE_S),
    )
    return Row(
        instance=instance,
        weight_version=weight_version(metrics),
        ready=_readiness(readiness, instance.pid),
        release=_release(metrics),
        generated_tokens=_number(GENERATED, metrics),
    )


def _with_rollout(row: Row, waits: Waits) -> Row:
    """Add what the learner knows of a rollout."""
    known = waits.rollouts.get(row.instance.name)
    if known is None:
        return row
    ready = f"{row.ready} ({known.phase})" if known.phase and row.ready != "yes" else row.ready
    return replace(row, ready=ready, lag_steps=known.lag_steps, num_leases=known.num_leases)


def weight_version(page: Page | None) -> int | None:
    """Read the policy version from a metrics page."""
    number = _number(WEIGHT_VERSION, page)
    return int(number) if number is not None else None


def _number(pattern: "re.Pattern[bytes]", page: Page | None) -> float | None:
    match = pattern.search(page.body) if page is not None and page.is_ok else None
    return float(match[1]) if match is not None else None


def _release(page: Page | None) -> str:
    match = RELEASE.search(page.body) if page is not None and page.is_ok else None
    return match[1].decode(errors="replace") if match is not None else ""


def _readiness(page: Page | None, pid: int) -> str:
    if page is None:
        return "stopped by a signal" if is_frozen(pid) else "no answer"
    return "yes" if page.is_ok else str(page.fields().get("detail", f"no ({page.status})"))
