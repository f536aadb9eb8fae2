"""What the learner waits for, by the books of its core. Pure: it reads, and changes nothing.

One answer at a time: the learner can only be waiting for one thing, the first that keeps its ranks from the next step.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from tetrad_learner.coordinator.core.device_phases import ENGINES_MAY_HOLD, DevicePhase
from tetrad_learner.coordinator.core.engines import Engine
from tetrad_learner.coordinator.core.keys import training
from tetrad_learner.coordinator.core.leases import Lease
from tetrad_wire.ids import Draw, Incarnation
from tetrad_wire.messages.leases import Lane
from tetrad_wire.messages.membership import RunState

if TYPE_CHECKING:
    from tetrad_learner.coordinator.core.core import Core

# An engine beats every second: one that has said nothing for this long is frozen, or on its way out.
SILENT_S: Final = 2.5


class WaitReason(StrEnum):
    """What the learner can wait for."""

    RANKS = "ranks"
    """A set of trainer ranks that starts, and loads what it begins from."""
    DEVICE = "device"
    """Engines that let go of the GPUs that they share with the learner, or take their memory back."""
    TRAIN = "train"
    """The ranks, which execute a step."""
    PUBLISH = "publish"
    """The broadcaster, which takes a new version."""
    CHECKPOINT = "checkpoint"
    """The disk: a checkpoint is copied, or the last one written."""
    EVALUATION = "evaluation"
    """Samples of an evaluation."""
    JOURNAL = "journal"
    """The disk: the batch of a step is written."""
    ENGINES = "engines"
    """A rollout that joins."""
    WEIGHTS = "weights"
    """A rollout that runs the wanted version, and is certified for it."""
    REWARDS = "rewards"
    """A reward service that grades the next row."""
    ROWS = "rows"
    """Rows of the dataset that can be trained on: a batch of them and more was drawn and dropped."""
    GENERATION = "generation"
    """Groups that are being generated."""
    GRADES = "grades"
    """Groups whose last turns are with the reward service."""
    RETRY = "retry"
    """Groups that failed, and are tried again after a pause."""
    END = "end"
    """The end of the run: all is trained, and the last of it is being put away."""
    OVER = "over"
    """Nothing: the run is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldestLease:
    """The lease that was granted first."""

    draw: Draw
    engine: Incarnation
    age_s: float
    unchanged_s: float
    """Since its last progress."""
    num_missing: int
    """Samples of its group that have not come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What the learner waits for now."""

    reason: WaitReason
    step: int = 0
    """Training step that cannot begin or end without it; of an evaluation, the step whose weights are judged."""
    behind: WaitReason | None = None
    """What an evaluation itself waits for."""
    engine: Incarnation | None = None
    """The rollout that it is up to, where it is one's."""
    engine_silent_s: float = 0.0
    """Since that rollout was heard."""
    replica: str = ""
    """The reward replica that it is up to."""
    seconds: float = 0.0
    """For how long that one has had it, by its own word."""
    phase: str = ""
    """Of the update of its weights, or of the GPUs' turns."""
    num_missing: int = 0
    """Groups that the step, or the evaluation, still needs."""
    num_engines: int = 0
    """Rollouts that are there."""
    lease: OldestLease | None = None
    detail: str = ""
    """What is known besides, in words."""

    @property
    def key(self) -> tuple[WaitReason, WaitReason | None, int]:
        """What makes it the same wait as before: one for the next step is another."""
        return self.reason, self.behind, self.step


def waiting_for(core: "Core", now: float) -> Wait:
    """Return what keeps the ranks from their next step, with the oldest lease that anybody holds meanwhile."""
    causes = (wait for cause in _CAUSES if (wait := cause(core, now)) is not None)
    wait = next(causes, None) or _work(core, Lane.TRAIN, now)
    held = [lease for lease in core.leases.leases.values() if lease.key in core.groups.groups]
    if wait.lease is not None or wait.reason is WaitReason.OVER or not held:
        return wait
    return replace(wait, lease=_told(core, _oldest(held), now))


# ---- one function for each cause, in the order in which they count


def _over(core: "Core", _now: float) -> Wait | None:
    return Wait(reason=WaitReason.OVER, step=core.steps.executed) if core.state.is_over else None


def _ranks(core: "Core", now: float) -> Wait | None:
    if core.steps.are_ranks_ready:
        return None
    if core.device.may_start_ranks:
        return Wait(reason=WaitReason.RANKS, step=core.steps.executed + 1)
    return _device_of(core, now)


def _ranks_work(core: "Core", _now: float) -> Wait | None:
    steps = core.steps
    if steps.executing is not None:
        return Wait(reason=WaitReason.TRAIN, step=steps.executing)
    if steps.is_copying:
        return Wait(reason=WaitReason.CHECKPOINT, step=steps.executed, detail="the ranks copy their weights for it")
    return None


def _publish(core: "Core", _now: float) -> Wait | None:
    is_due = core.needs_publish() and core.device.may_publish and not core.is_giving_up
    if core.versions.publishing is None and not is_due:
        return None
    failed = core.versions.num_failures
    detail = f"{failed} attempts failed" if failed else ""
    return Wait(reason=WaitReason.PUBLISH, step=core.steps.executed, detail=detail)


def _device(core: "Core", now: float) -> Wait | None:
    is_granted = core.device.phase is DevicePhase.GENERATE
    return None if is_granted or not core.device.is_shared else _device_of(core, now)


def _device_of(core: "Core", _now: float) -> Wait:
    device = core.device
    wanted = ENGINES_MAY_HOLD[device.phase]
    done = set(device.obeyed(wanted))
    late = [engine for engine in device.holders if engine not in done]
    report = device.holders[late[0]].report if late else None
    return Wait(
        reason=WaitReason.DEVICE,
        step=core.steps.executed + 1,
        engine=late[0] if late else None,
        phase=device.phase.value,
        num_engines=len(device.holders),
        detail=report.problem if report is not None else "",
    )


def _evaluation(core: "Core", now: float) -> Wait | None:
    if not core.rounds.is_open:
        return None
    if core.groups.num_evaluating == 0:
        return Wait(reason=WaitReason.EVALUATION, step=core.rounds.current or 0, detail="its report is being written")
    work = _work(core, Lane.EVAL, now)
    return Wait(
        reason=WaitReason.EVALUATION,
        step=core.rounds.current or 0,
        behind=work.reason,
        engine=work.engine,
        engine_silent_s=work.engine_silent_s,
        replica=work.replica,
        seconds=work.seconds,
        phase=work.phase,
        num_missing=core.groups.num_evaluating,
        num_engines=work.num_engines,
        lease=work.lease,
        detail=work.detail,
    )


def _journal(core: "Core", _now: float) -> Wait | None:
    step = core.steps.journaling
    return Wait(reason=WaitReason.JOURNAL, step=step) if step is not None else None


def _end(core: "Core", _now: float) -> Wait | None:
    steps = core.steps
    is_trained = steps.executed >= core.config.num_steps or core.state is RunState.DRAINING
    if not is_trained and not core.is_giving_up:
        return None
    if core.needs_checkpoint() or steps.saving is not None:
        return Wait(reason=WaitReason.CHECKPOINT, step=steps.executed, detail="it is being written")
    return Wait(reason=WaitReason.END, step=steps.executed) if is_trained else None


_CAUSES: Final[tuple[Callable[["Core", float], Wait | None], ...]] = (
    _over,
    _ranks,
    _ranks_work,
    _publish,
    _device,
    _evaluation,
    _journal,
    _end,
)


# ---- groups that have to come


def _work(core: "Core", lane: Lane, now: float) -> Wait:
    step = core.steps.sealed + 1
    missing = max(0, core.config.batch_size - core.groups.num_complete)
    if lane is Lane.TRAIN and core.drops.num_lost >= core.config.batch_size:
        detail = f"{core.drops.num_lost} groups were drawn for it and dropped, the last as {core.drops.last}"
        return Wait(reason=WaitReason.ROWS, step=step, num_missing=missing, detail=detail)
    held = [lease for lease in core.leases.leases.values() if lease.key.lane is lane]
    if held:
        return _leased(core, _oldest(held), now, step=step, missing=missing)
    return _unleased(core, lane, now, step=step, missing=missing)


def _leased(core: "Core", lease: Lease, now: float, *, step: int, missing: int) -> Wait:
    group, engine = core.groups.groups[lease.key], core.engines.engines.get(lease.engine)
    silent_s = now - engine.heard_at if engine is not None else 0.0
    grading = lease.grading
    # A frozen rollout's last word about its grades is out of date.
    is_graded = grading is not None and grading.num_turns >= len(group.missing) and silent_s < SILENT_S
    return Wait(
        reason=WaitReason.GRADES if is_graded else WaitReason.GENERATION,
        step=step,
        engine=lease.engine,
        engine_silent_s=silent_s,
        replica=grading.replica if grading is not None and is_graded else "",
        seconds=grading.seconds + silent_s if grading is not None and is_graded else 0.0,
        num_missing=missing,
        num_engines=len(core.engines.engines),
        lease=_told(core, lease, now),
    )


def _oldest(held: Iterable[Lease]) -> Lease:
    return min(held, key=lambda lease: lease.granted_at)


def _told(core: "Core", lease: Lease, now: float) -> OldestLease:
    return OldestLease(
        draw=lease.key.draw,
        engine=lease.engine,
        age_s=now - lease.granted_at,
        unchanged_s=now - lease.progressed_at,
        num_missing=len(core.groups.groups[lease.key].missing),
    )


def _unleased(core: "Core", lane: Lane, now: float, *, step: int, missing: int) -> Wait:
    engines, wanted = core.engines.engines.values(), core.versions.wanted
    num_engines = len(engines)
    if not engines:
        return Wait(reason=WaitReason.ENGINES, step=step, num_missing=missing)
    if wanted is None or not core.engines.certified(wanted.digest):
        return _uncertified(engines, now, step=step, missing=missing)
    keys = core.groups.unleased[lane]
    if core.grader_of(min(keys, default=training(core.groups.cursor)), "") is None:
        return Wait(reason=WaitReason.REWARDS, step=step, num_missing=missing, num_engines=num_engines)
    waiting = [core.groups.groups[key] for key in keys]
    if waiting and all(group.not_before > now for group in waiting):
        group = min(waiting, key=lambda group: (group.not_before, group.key))
        detail = f"draw {group.key.draw} failed {group.infra_failures} times"
        seconds = group.not_before - now
        return Wait(reason=WaitReason.RETRY, step=step, num_missing=missing, seconds=seconds, detail=detail)
    return Wait(reason=WaitReason.GENERATION, step=step, num_missing=missing, num_engines=num_engines)


def _uncertified(engines: Iterable[Engine], now: float, *, step: int, missing: int) -> Wait:
    """Name the rollout that is furthest from the wanted version: the silent one, else the slowest."""
    there = list(engines)
    late = max(there, key=lambda engine: (_silence(engine, now), engine.weights.seconds if engine.weights else 0.0))
    weights, silent_s = late.weights, now - late.heard_at
    return Wait(
        reason=WaitReason.WEIGHTS,
        step=step,
        engine=late.incarnation,
        engine_silent_s=silent_s,
        phase=weights.phase.value if weights is not None else "",
        seconds=weights.seconds + silent_s if weights is not None else 0.0,
        num_missing=missing,
        num_engines=len(there),
        detail=weights.problem if weights is not None else "",
    )


def _silence(engine: Engine, now: float) -> float:
    silent_s = now - engine.heard_at
    return silent_s if silent_s > SILENT_S else 0.0
