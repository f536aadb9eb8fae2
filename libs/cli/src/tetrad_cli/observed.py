"""What a run looks like from outside: the launcher's rows, and what each process says on its own pages.

Owns nothing; asks everybody at once, each under a deadline.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from tetrad_cli.launch.control import InstanceStatus, Reply, Request, ask
from tetrad_cli.launch.logfiles import last_lines
from tetrad_cli.launch.probe import Page, get
from tetrad_cli.launch.proc import is_frozen
from tetrad_cli.launch.states import State
from tetrad_cli.live.progress import TOKENS_PER_S
from tetrad_cli.live.record import parse
from tetrad_cli.metrics_page import value
from tetrad_cli.process_waits import of_broadcaster, of_learner, of_reward, of_rollout
from tetrad_cli.waits import LEARNER, Waits, waits_of

PAGE_DEADLINE_S: Final = 2.0
WEIGHT_VERSION: Final = r"tetrad_\w+_(?:weight|newest)_version"
SPEED: Final = "tetrad_rollout_speed_tokens"
RELEASE: Final = re.compile(r'^tetrad_build_info\{[^}]*version="([^"]*)"[^}]*\} 1', re.MULTILINE)
YES: Final = "yes"
ROLLOUT: Final = "rollout"
WAIT_OF: Final[Mapping[str, Callable[[str], str]]] = {"reward": of_reward, "broadcaster": of_broadcaster}
"""By role, for those that know it of themselves."""
# Records of a step are short; evaluations stand between them.
RECENT_RECORDS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One process."""

    instance: InstanceStatus
    weight_version: int | None
    """Policy version that it runs or has published; None where it has no such metric."""
    ready: str
    """`yes`, or why not."""
    waits_for: str = ""
    """What a process that is ready waits for, in words; empty while it works, and where it does not say."""
    release: str = ""
    """Version of its program; empty where it does not say."""
    lag_steps: int | None = None
    """Training steps that a rollout's weights lag behind the newest; None for other roles, and before it has any."""
    num_leases: int | None = None
    """Groups that a rollout is working on."""
    tokens_per_s: float | None = None
    """Of a rollout's samples that finished within the last seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """The processes of a role."""

    wanted: int
    up: int


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
    replicas: Mapping[str, Replicas] = field(default_factory=dict)
    """By role."""


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
        rows=tuple(with_learners_books(row, waits) for row in rows if isinstance(row, Row)),
        waits=waits,
        tokens_per_s=newest_tokens_per_s(run_dir),
        replicas=replicas_of(reply),
    )


def replicas_of(reply: Reply) -> dict[str, Replicas]:
    """Return how many processes of each role there should be, and how many are up."""
    up = Counter(one.role for one in reply.instances if one.state == State.UP)
    return {role: Replicas(wanted=wanted, up=up[role]) for role, wanted in reply.wanted.items() if wanted or up[role]}


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
    return row_of(instance, readiness, metrics, pid=instance.pid)


def row_of(instance: InstanceStatus, readiness: Page | None, metrics: Page | None, *, pid: int) -> Row:
    """Return what a process says of itself on its two pages."""
    text = metrics.body.decode(errors="replace") if metrics is not None and metrics.is_ok else ""
    version = value(text, WEIGHT_VERSION)
    ready = _readiness(readiness, pid)
    return Row(
        instance=instance,
        weight_version=int(version) if version is not None else None,
        ready=ready,
        waits_for=WAIT_OF[instance.role](text) if ready == YES and instance.role in WAIT_OF else "",
        release=_release(text),
        tokens_per_s=value(text, SPEED),
    )


def with_learners_books(row: Row, waits: Waits) -> Row:
    """Add what the learner knows of a process."""
    role, known = row.instance.role, waits.rollouts.get(row.instance.name)
    if role == LEARNER and row.ready == YES:
        return replace(row, waits_for=of_learner(waits))
    if role != ROLLOUT or not waits.fields:
        return row
    if known is None:
        return replace(row, waits_for="the learner to take it in" if row.ready == YES else "")
    ready = f"{row.ready} ({known.phase})" if known.phase and row.ready != YES else row.ready
    waits_for = of_rollout(known) if row.ready == YES else ""
    return replace(row, ready=ready, waits_for=waits_for, lag_steps=known.lag_steps, num_leases=known.num_leases)


def _release(page: str) -> str:
    match = RELEASE.search(page)
    return match[1] if match is not None else ""


def _readiness(page: Page | None, pid: int) -> str:
    if page is None:
        return "stopped by a signal" if is_frozen(pid) else "no answer"
    return YES if page.is_ok else str(page.fields().get("detail", f"no ({page.status})"))
