"""The device lease: learner and engines take turns on the GPUs that they share (PROTOCOL §7). Pure.

One lease stands for all GPUs of the run: its phase is durable, and so is who may hold memory on them. Nothing is
believed that is not of the newest order, and nobody is presumed to have let go but a process that is known dead.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tetrad_learner.coordinator.core.device_phases import DEVICE, ENGINES_MAY_HOLD, RANKS_MAY_HOLD, DevicePhase
from tetrad_learner.coordinator.core.effects import EnterPhase, MoveState
from tetrad_learner.coordinator.core.events import EngineGone, RanksMoved
from tetrad_learner.coordinator.core.facts import HolderAdmitted, HolderGone, PhaseEntered
from tetrad_learner.coordinator.core.outcome import Outcome
from tetrad_learner.coordinator.core.tables import follow
from tetrad_wire.ids import Incarnation
from tetrad_wire.messages.membership import DeviceReport, EngineMemory
from tetrad_wire.messages.steps import StatePlace

_P = DevicePhase


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What the run needs of the GPUs now."""

    has_ranks_work: bool
    """The ranks are to be started, or have something to do."""
    has_training_work: bool
    """They have a step to execute, or a checkpoint to write of weights that are published."""
    has_step: bool
    """They have a step to execute."""
    are_ranks_idle: bool
    """They are there, and do nothing."""
    is_checkpoint_due: bool
    can_publish: bool
    """Their weights are published, or may be: they are not on the way to what they were before."""
    is_seed_lost: bool
    """The broadcaster does not hold what is wanted."""
    digest: str
    """Of the weights that they hold, once those are published and wanted; empty before."""
    certified: frozenset[Incarnation]
    """Engines that are certified for them."""


@dataclass(slots=True)
class Holder:
    """One colocated engine that may hold memory of a shared GPU."""

    process: str
    """Names its process beyond doubt, so that its death can be seen."""
    report: DeviceReport | None = None
    """The newest that this coordinator has heard."""


@dataclass(slots=True)
class DeviceLease:
    """Whose turn it is, and what the other side still holds."""

    out: Outcome
    is_shared: bool
    """Whether learner and engines share GPUs at all; everything is permitted otherwise."""
    timeout_s: float
    """For which a phase waits for engines."""
    phase: DevicePhase = DevicePhase.ENGINE_ASLEEP
    """A run begins with its ranks: they are the first to allocate."""
    turn: int = 0
    """Grows whenever engines may hold something else."""
    holders: dict[Incarnation, Holder] = field(default_factory=dict)
    place: StatePlace | None = None
    """Where the ranks have what they hold; None without ranks."""
    is_moving: bool = False
    since: float | None = None
    """When the wait for engines of this phase began; None before this coordinator has seen it."""
    _is_announced: bool = False

    # ---- what is permitted

    @property
    def may_grant(self) -> bool:
        """Whether engines may work."""
        return not self.is_shared or self.phase is _P.GENERATE

    @property
    def may_start_ranks(self) -> bool:
        """Whether a new set of ranks may allocate."""
        return not self.is_shared or self.phase is _P.ENGINE_ASLEEP

    @property
    def are_ranks_at_work(self) -> bool:
        """Whether the ranks have what they hold where they compute."""
        is_there = self.place is StatePlace.DEVICE and not self.is_moving and self.phase in RANKS_MAY_HOLD
        return not self.is_shared or is_there

    @property
    def may_execute(self) -> bool:
        """Whether the ranks may train."""
        return not self.is_shared or self.phase is _P.TRAIN

    @property
    def may_publish(self) -> bool:
        """Whether engines can take a new version."""
        return not self.is_shared or self.phase in (_P.PUBLISH, _P.COMMITTED)

    # ---- what happens

    def admit(self, incarnation: Incarnation, process: str) -> None:
        """A colocated engine asks to hold memory; it gets its orders once that is durable."""
        if self.is_shared and process and incarnation not in self.holders:
            self.holders[incarnation] = Holder(process)
            self.out.record(HolderAdmitted(engine=incarnation, process=process))
            self._announce()

    def hear(self, incarnation: Incarnation, report: DeviceReport | None) -> None:
        """An engine says what it holds."""
        holder = self.holders.get(incarnation)
        if holder is None or report is None:
            return
        # Messages may overtake each other.
        if holder.report is None or report.turn >= holder.report.turn:
            holder.report = report

    def take(self, event: EngineGone | RanksMoved) -> None:
        """What was held is held no more: a process is dead, or all ranks have moved what they hold."""
        match event:
            case EngineGone():
                if self.holders.pop(event.incarnation, None) is not None:
                    self.out.record(HolderGone(engine=event.incarnation))
            case RanksMoved():
                if self.place is not None:
                    self.place, self.is_moving = event.place, False

    def start_ranks(self) -> None:
        """A set of ranks is there, with all it holds where it computes."""
        self.place, self.is_moving = StatePlace.DEVICE, False

    def lose_ranks(self) -> None:
        """The ranks are dead: they hold nothing."""
        self.place, self.is_moving = None, False

    def extend(self, seconds: float) -> None:
        """Forgive a gap that was ours."""
        if self.since is not None:
            self.since += seconds

    # ---- what follows

    def advance(self, need: Need, now: float) -> str:
        """Enter the phases that have become possible, and order what they need; return why the run must fail."""
        if not self._is_announced:
            self._announce()
        for _ in DevicePhase:
            self.since = now if self.since is None else self.since
            after = _NEXT[self.phase](self, need, now)
            if after is None:
                break
            self._enter(after)
        self._order_ranks(need)
        return self._failure(now)

    def is_late(self, now: float) -> bool:
        """Whether the engines have had the time of a phase."""
        return self.since is not None and now - self.since > self.timeout_s

    def obeyed(self, *memories: EngineMemory) -> Iterable[Incarnation]:
        """Engines that have done what the newest order says, and hold one of these."""
        for incarnation, holder in self.holders.items():
            report = holder.report
            if report is not None and report.turn >= self.turn and report.memory in memories:
                yield incarnation

    def committed(self, digest: str) -> Iterable[Incarnation]:
        """Engines that hold these weights since the last publish: those of before were lost in their sleep."""
        is_awake = ENGINES_MAY_HOLD[self.phase] is EngineMemory.AWAKE
        for incarnation, holder in self.holders.items():
            report = holder.report
            if report is not None and digest and report.digest == digest and report.turn >= self.turn - is_awake:
                yield incarnation

    def _enter(self, phase: DevicePhase) -> None:
        before, self.phase = self.phase, follow(DEVICE, self.phase, phase)
        self.turn += ENGINES_MAY_HOLD[before] is not ENGINES_MAY_HOLD[phase]
        self.since = None
        self.out.record(PhaseEntered(phase=phase, turn=self.turn))
        self._announce()

    def _announce(self) -> None:
        self._is_announced = True
        memory = ENGINES_MAY_HOLD[self.phase]
        self.out.do(EnterPhase(phase=self.phase, turn=self.turn, memory=memory, engines=tuple(self.holders)))

    def _order_ranks(self, need: Need) -> None:
        if self.is_moving:
            return
        if self.phase is _P.ENGINE_ASLEEP and self.place is StatePlace.HOST:
            self._move_ranks(StatePlace.DEVICE)
        elif (
            self.phase is _P.COMMITTED
            and self.place is StatePlace.DEVICE
            and need.are_ranks_idle
            and not need.is_checkpoint_due
        ):
            self._move_ranks(StatePlace.HOST)

    def _move_ranks(self, place: StatePlace) -> None:
        self.is_moving = True
        self.out.do(MoveState(place=place))

    def _failure(self, now: float) -> str:
        """Engines that hold what others need, or cannot have what they need, end the run: nobody can take it away."""
        if not self.is_late(now) or self.phase not in (_P.DRAIN, _P.LEARNER_OFFLOADED):
            return ""
        holds = "; ".join(f"{name}: {_described(holder)}" for name, holder in self.holders.items())
        what = "let go of its memory" if self.phase is _P.DRAIN else "take its memory back"
        return f"an engine did not {what} within {self.timeout_s:g} s (trainer.stall_timeout): {holds}"


def _described(holder: Holder) -> str:
    report = holder.report
    if report is None:
        return f"process {holder.process} has said nothing and is not known to be dead"
    return report.problem or f"holds {report.memory.value} since order {report.turn}"


def _generate(_lease: DeviceLease, need: Need, _now: float) -> DevicePhase | None:
    return _P.DRAIN if need.has_ranks_work else None


def _drain(lease: DeviceLease, _need: Need, _now: float) -> DevicePhase | None:
    are_asleep = lease.holders.keys() == set(lease.obeyed(EngineMemory.ASLEEP))
    return _P.ENGINE_ASLEEP if are_asleep else None


def _engine_asleep(lease: DeviceLease, _need: Need, _now: float) -> DevicePhase | None:
    return _P.TRAIN if lease.place is StatePlace.DEVICE and not lease.is_moving else None


def _train(lease: DeviceLease, need: Need, _now: float) -> DevicePhase | None:
    if lease.place is None:
        return _P.ENGINE_ASLEEP
    is_done = need.are_ranks_idle and not need.has_training_work
    return _P.PUBLISH if is_done and need.can_publish else None


def _publish(lease: DeviceLease, need: Need, now: float) -> DevicePhase | None:
    if lease.place is None or _must_train(lease, need):
        return _P.DRAIN
    if not need.digest or need.is_seed_lost:
        lease.since = now  # publishing has bounds of its own
        return None
    # A replica that has built no engine yet has nothing to commit with; it gets its weights later.
    done = {*lease.obeyed(EngineMemory.ASLEEP), *lease.committed(need.digest)}
    return _P.COMMITTED if lease.holders.keys() <= done or lease.is_late(now) else None


def _committed(lease: DeviceLease, need: Need, _now: float) -> DevicePhase | None:
    if lease.place is None or _must_train(lease, need):
        return _P.DRAIN
    return _P.LEARNER_OFFLOADED if lease.place is StatePlace.HOST else None


def _must_train(lease: DeviceLease, need: Need) -> bool:
    """Whether there is a step to execute already, so that nothing would be generated in between."""
    return need.has_step and need.are_ranks_idle and not lease.is_moving


def _learner_offloaded(lease: DeviceLease, need: Need, now: float) -> DevicePhase | None:
    if lease.place is None:
        return _P.DRAIN
    # Whoever builds an engine, or is seeded late, joins the others when it is ready.
    awake, waited_for = set(lease.obeyed(EngineMemory.AWAKE)), set(lease.committed(need.digest))
    return _P.KV_AWAKE if waited_for <= awake or (awake and lease.is_late(now)) else None


def _kv_awake(lease: DeviceLease, need: Need, now: float) -> DevicePhase | None:
    if lease.place is None:
        return _P.DRAIN
    are_proved = set(lease.committed(need.digest)) <= need.certified
    return _P.GENERATE if are_proved or lease.is_late(now) else None


_NEXT: Final[Mapping[DevicePhase, Callable[[DeviceLease, Need, float], DevicePhase | None]]] = {
    _P.GENERATE: _generate,
    _P.DRAIN: _drain,
    _P.ENGINE_ASLEEP: _engine_asleep,
    _P.TRAIN: _train,
    _P.PUBLISH: _publish,
    _P.COMMITTED: _committed,
    _P.LEARNER_OFFLOADED: _learner_offloaded,
    _P.KV_AWAKE: _kv_awake,
}
