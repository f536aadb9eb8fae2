"""Planted defects of the device lease."""

from typing import Any

import pytest

from simulation import coordinator as shell
from simulation.sampling_mutations import MUTATIONS, planted
from tetrad_learner.coordinator.core import device_lease, image
from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core.core import Core
from tetrad_learner.coordinator.core.device_lease import DeviceLease
from tetrad_learner.coordinator.core.device_phases import DevicePhase
from tetrad_learner.coordinator.core.events import EngineGone
from tetrad_wire.messages.steps import StatePlace

__all__ = ["MUTATIONS"]

RANKS_MEET_AN_ENGINE = r"ranks (start|train|take back what they hold) while"


@planted(caught_by=RANKS_MEET_AN_ENGINE)
def start_ranks_whoever_holds_the_gpus(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DeviceLease, "may_start_ranks", property(lambda _self: True))


@planted(caught_by=RANKS_MEET_AN_ENGINE)
def believe_what_an_engine_said_before_the_order(patch: pytest.MonkeyPatch) -> None:
    def credulous(self: DeviceLease, *memories: Any) -> list[Any]:
        reports = {engine: holder.report for engine, holder in self.holders.items()}
        return [engine for engine, report in reports.items() if report is not None and report.memory in memories]

    patch.setattr(DeviceLease, "obeyed", credulous)


@planted(caught_by=rf"is buried, but it lives|{RANKS_MEET_AN_ENGINE}")
def presume_that_the_silent_hold_nothing(patch: pytest.MonkeyPatch) -> None:
    lose = Core._lose_engine

    def hasty(self: Core, incarnation: Any, reason: str, now: float) -> None:
        lose(self, incarnation, reason, now)
        self.device.take(EngineGone(now=now, incarnation=incarnation))

    patch.setattr(Core, "_lose_engine", hasty)


@planted(caught_by="takes awake while ranks hold the GPU")
def wake_engines_before_the_ranks_have_gone(patch: pytest.MonkeyPatch) -> None:
    def impatient(lease: DeviceLease, _need: Any, _now: float) -> DevicePhase:
        return DevicePhase.DRAIN if lease.place is None else DevicePhase.LEARNER_OFFLOADED

    table = dict(device_lease._NEXT)
    patch.setattr(device_lease, "_NEXT", table | {DevicePhase.COMMITTED: impatient})


@planted(caught_by="are to move to device|take back what they hold while")
def call_the_ranks_back_before_engines_sleep(patch: pytest.MonkeyPatch) -> None:
    order_ranks = DeviceLease._order_ranks

    def impatient(self: DeviceLease, need: Any) -> None:
        order_ranks(self, need)
        if self.phase is DevicePhase.DRAIN and self.place is StatePlace.HOST and not self.is_moving:
            self._move_ranks(StatePlace.DEVICE)

    patch.setattr(DeviceLease, "_order_ranks", impatient)


@planted(caught_by="is granted in")
def grant_while_the_learner_has_the_gpus(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DeviceLease, "may_grant", property(lambda _self: True))


@planted(caught_by="the core differs from its facts: device")
def forget_who_holds_memory_in_a_restart(patch: pytest.MonkeyPatch) -> None:
    def amnesic(lease: DeviceLease, durable: Any) -> None:
        lease.phase, lease.turn = durable.phase, durable.turn

    patch.setattr(image, "restore_device", amnesic)


@planted(caught_by="the core differs from its facts: device")
def begin_anew_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(image, "restore_device", lambda _lease, _durable: None)


@planted(caught_by="before that is durable|durable is")
def tell_engines_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    submit = shell.Coordinator._submit

    def hasty(self: shell.Coordinator, outcome: Any, sample: Any) -> None:
        self._perform([effect for effect in outcome.effects if isinstance(effect, ef.EnterPhase)])
        submit(self, outcome, sample)

    patch.setattr(shell.Coordinator, "_submit", hasty)


@planted(caught_by="what is being copied is moved")
def move_what_a_checkpoint_copies(patch: pytest.MonkeyPatch) -> None:
    order_ranks = DeviceLease._order_ranks

    def hasty(self: DeviceLease, need: Any) -> None:
        order_ranks(self, need)
        if self.phase is DevicePhase.COMMITTED and self.place is StatePlace.DEVICE and not self.is_moving:
            self._move_ranks(StatePlace.HOST)

    patch.setattr(DeviceLease, "_order_ranks", hasty)


@planted(caught_by="what they hold is on the host|not over after")
def use_ranks_that_are_on_the_host(patch: pytest.MonkeyPatch) -> None:
    for permission in ("are_ranks_at_work", "may_execute", "may_publish"):
        patch.setattr(DeviceLease, permission, property(lambda _self: True))


@planted(caught_by="turn .* after")
def give_every_order_the_same_number(patch: pytest.MonkeyPatch) -> None:
    enter = DeviceLease._enter

    def stuck(self: DeviceLease, phase: DevicePhase) -> None:
        turn = self.turn
        enter(self, phase)
        fact = self.out.facts[-1]
        self.turn = turn
        self.out.facts[-1] = type(fact)(phase=phase, turn=turn)  # type: ignore[call-arg]

    patch.setattr(DeviceLease, "_enter", stuck)


@planted(caught_by="not over after")
def wait_for_the_dead(patch: pytest.MonkeyPatch) -> None:
    take = DeviceLease.take

    def deaf(self: DeviceLease, event: Any) -> None:
        if not isinstance(event, EngineGone):
            take(self, event)

    patch.setattr(DeviceLease, "take", deaf)
    patch.setattr(DeviceLease, "is_late", lambda _self, _now: False)
