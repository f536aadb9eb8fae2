"""What the learner says of its waits: the page `/why`, read by name and checked.

Owns nothing. A learner of another release may say more, or less: what is missing has a default.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tetrad_cli.launch.control import InstanceStatus
from tetrad_cli.launch.probe import get
from tetrad_cli.launch.proc import is_frozen

PAGE: Final = "/why"
LEARNER: Final = "learner"
DEADLINE_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One rollout, by the learner's books."""

    lag_steps: int | None
    num_leases: int | None
    phase: str
    """Of the update of its weights; empty while it runs the newest."""
    silent_s: float = 0.0
    """Since it last said something to the learner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """What the learner waits for."""

    sentence: str
    reason: str = ""
    """One word of a closed set; empty where the learner could not be asked."""
    on: str = ""
    """The process that it is up to; empty where it is nobody's in particular."""
    since_s: float | None = None
    state: str = ""
    """Of the run: starting, running, stalled, draining."""
    steps_executed: int | None = None
    num_steps: int | None = None
    rollouts: Mapping[str, Rollout] = field(default_factory=dict)
    fields: Mapping[str, object] = field(default_factory=dict)
    """The whole page, for programs."""


async def waits_of(learner: InstanceStatus | None) -> Waits:
    """Ask the learner; where it does not answer the sentence says what is known of it."""
    if learner is None or learner.pid is None:
        state = learner.state if learner is not None else "not there"
        last = f"; its last life: {learner.last_exit}" if learner is not None and learner.last_exit else ""
        return Waits(sentence=f"The learner has no process now ({state}{last}).", on=LEARNER)
    page = await get(learner.port, PAGE, deadline_s=DEADLINE_S)
    if page is not None and page.is_ok and (fields := page.fields()):
        return parsed(fields)
    return Waits(sentence=_silence(learner, learner.pid), on=LEARNER)


def parsed(fields: Mapping[str, object]) -> Waits:
    """Read the page's fields."""
    rollouts = fields.get("rollouts")
    return Waits(
        sentence=str(fields.get("sentence", "")),
        reason=str(fields.get("reason", "")),
        on=str(fields.get("on", "")),
        since_s=_float(fields.get("since_s")),
        state=str(fields.get("state", "")),
        steps_executed=_int(fields.get("steps_executed")),
        num_steps=_int(fields.get("num_steps")),
        rollouts={str(name): _rollout(one) for name, one in rollouts.items()} if isinstance(rollouts, dict) else {},
        fields=fields,
    )


def _rollout(fields: object) -> Rollout:
    known = fields if isinstance(fields, dict) else {}
    return Rollout(
        lag_steps=_int(known.get("lag_steps")),
        num_leases=_int(known.get("num_leases")),
        phase=str(known.get("phase") or ""),
        silent_s=_float(known.get("silent_s")) or 0.0,
    )


def _silence(learner: InstanceStatus, pid: int) -> str:
    if is_frozen(pid):
        return f"The learner is stopped by a signal; `kill -CONT {pid}` lets it go on."
    if learner.state == "starting":
        return f"The learner has been starting for {learner.uptime_s:.1f} s, and does not answer yet."
    return f"The learner (pid {pid}) did not answer within {DEADLINE_S:g} s: it is busy, or hangs."


def _int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
