"""Planted defects: each breaks one rule of the protocol in the way that a tired programmer would."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from simulation import coordinator as shell
from tetrad_learner.coordinator.core import effects as ef
from tetrad_learner.coordinator.core import facts as fa
from tetrad_learner.coordinator.core.core import Core
from tetrad_learner.coordinator.core.engines import EngineBook
from tetrad_learner.coordinator.core.groups import GroupBook
from tetrad_learner.coordinator.core.image import restore
from tetrad_learner.coordinator.core.leases import LeaseBook
from tetrad_learner.coordinator.core.steps import StepBook
from tetrad_learner.coordinator.core.tables import SlotState
from tetrad_learner.coordinator.core.versions import Version, VersionBook
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.leases import Disposition, Lane

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Mutation:
    """A defect and what must be said of it."""

    plant: Plant
    caught_by: str
    """Pattern of the broken rule."""


MUTATIONS: dict[str, Mutation] = {}


def planted(*, caught_by: str) -> Callable[[Plant], Plant]:
    """Add a mutation under its name."""

    def add(plant: Plant) -> Plant:
        MUTATIONS[plant.__name__] = Mutation(plant, caught_by)
        return plant

    return add


@planted(caught_by="is filled, but it is|counts twice")
def fill_a_slot_twice(patch: pytest.MonkeyPatch) -> None:
    judge = Core._judge

    def forgetful(self: Core, event: Any, group: Any) -> Any:
        if group is not None and group.slots[event.index].state is SlotState.FILLED:
            group.slots[event.index].state = SlotState.EMPTY
        return judge(self, event, group)

    patch.setattr(Core, "_judge", forgetful)


@planted(caught_by="is granted to")
def grant_without_certificate(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EngineBook, "is_certified", lambda _self, _engine, _digest: True)


@planted(caught_by="is minted after")
def reuse_a_version(patch: pytest.MonkeyPatch) -> None:
    def mint(self: VersionBook, *, lineage: int, step: int) -> Version:
        number = self.current.number if self.current else 0
        is_reload = self.current is not None and self.current.lineage != lineage
        number = PolicyVersion(number if is_reload else number + 1)
        self.current = self.versions[number] = Version(number, lineage, step)
        self.out.record(fa.VersionMinted(version=self.current.number, lineage=lineage, step=step))
        return self.current

    patch.setattr(VersionBook, "mint", mint)


@planted(caught_by="without a digest")
def want_a_version_before_its_digest_is_known(patch: pytest.MonkeyPatch) -> None:
    publish = VersionBook.publish

    def eager(self: VersionBook, version: Version) -> None:
        publish(self, version)
        self.want(version)

    patch.setattr(VersionBook, "publish", eager)


@planted(caught_by="is acknowledged as accepted, durable is empty")
def acknowledge_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    submit = shell.Coordinator._submit

    def hasty(self: shell.Coordinator, outcome: Any, sample: Any) -> None:
        self._perform([effect for effect in outcome.effects if isinstance(effect, ef.Acknowledge)])
        submit(self, outcome, sample)

    patch.setattr(shell.Coordinator, "_submit", hasty)


@planted(caught_by="is acknowledged as accepted, durable is empty")
def accept_without_recording(patch: pytest.MonkeyPatch) -> None:
    fill = GroupBook.fill

    def careless(self: GroupBook, group: Any, sample: Any) -> None:
        fill(self, group, sample)
        if sample.index == 0 and group.key.lane is Lane.TRAIN:
            self.out.facts.pop()

    patch.setattr(GroupBook, "fill", careless)


@planted(caught_by="groups are admitted, the limit is")
def admit_one_group_too_many(patch: pytest.MonkeyPatch) -> None:
    may_draw = Core._may_draw

    def generous(self: Core) -> bool:
        self.groups.num_open -= 1
        answer = may_draw(self)
        self.groups.num_open += 1
        return answer

    patch.setattr(Core, "_may_draw", generous)


@planted(caught_by="are still needed")
def draw_beyond_the_last_step(patch: pytest.MonkeyPatch) -> None:
    may_draw = Core._may_draw

    def tireless(self: Core) -> bool:
        config = self.config
        self.config = replace(config, num_steps=config.num_steps + 1)
        answer = may_draw(self)
        self.config = config
        return answer

    patch.setattr(Core, "_may_draw", tireless)


@planted(caught_by="takes .*, complete are")
def seal_out_of_draw_order(patch: pytest.MonkeyPatch) -> None:
    complete = GroupBook.complete
    patch.setattr(GroupBook, "complete", lambda self: complete(self)[::-1])


@planted(caught_by="is begun after")
def execute_a_step_twice(patch: pytest.MonkeyPatch) -> None:
    begin = StepBook.begin

    def again(self: StepBook) -> int:
        if self.executed == 2 and 2 not in self.attempts:
            self.attempts[2] = 1
            self.executed = 1
        return begin(self)

    patch.setattr(StepBook, "begin", again)


@planted(caught_by="the ranks are at|is begun after")
def skip_a_step(patch: pytest.MonkeyPatch) -> None:
    finish = StepBook.finish

    def leap(self: StepBook, step: int) -> None:
        finish(self, step)
        if self.executed < self.sealed:
            self.executed += 1

    patch.setattr(StepBook, "finish", leap)


@planted(caught_by="the ranks are at|is begun after")
def keep_a_void_step_after_a_reload(patch: pytest.MonkeyPatch) -> None:
    open_lineage = StepBook.open_lineage

    def stubborn(self: StepBook, from_step: int) -> None:
        executed = self.executed
        open_lineage(self, from_step)
        self.executed = executed

    patch.setattr(StepBook, "open_lineage", stubborn)


@planted(caught_by="a silence that was the coordinator's own")
def blame_others_for_its_own_freeze(patch: pytest.MonkeyPatch) -> None:
    """Harmless to what is trained, for a slot is filled at most once; it costs the work of every lease."""

    def unforgiving(self: Core, now: float) -> None:
        self._heard_at = now

    patch.setattr(Core, "_forgive_own_gap", unforgiving)


@planted(caught_by="the core differs from its facts")
def forget_leases_on_restart(patch: pytest.MonkeyPatch) -> None:
    def amnesic(core: Core, image: Any, *, now: float) -> None:
        restore(core, image, now=now)
        core.leases.leases.clear()
        for group in core.groups.groups.values():
            core.groups.release(group)

    patch.setattr("simulation.coordinator.restore", amnesic)


@planted(caught_by="token .* after")
def repeat_tokens_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    init = LeaseBook.__init__

    def first_epoch_forever(self: LeaseBook, out: Any, epoch: int) -> None:
        init(self, out, 1)

    patch.setattr(LeaseBook, "__init__", first_epoch_forever)


@planted(caught_by="while .* evaluate")
def want_a_version_while_engines_evaluate(patch: pytest.MonkeyPatch) -> None:
    want_newest = Core._want_newest

    def impatient(self: Core, now: float) -> None:
        round_, self.rounds.current = self.rounds.current, None
        want_newest(self, now)
        self.rounds.current = round_

    patch.setattr(Core, "_want_newest", impatient)
    patch.setattr(Core, "_awaits_evaluation", lambda _self: False)


@planted(caught_by="are closed, due were")
def leave_an_evaluation_behind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Core, "_awaits_evaluation", lambda _self: False)


@planted(caught_by="is opened again|is reported twice")
def report_an_evaluation_twice(patch: pytest.MonkeyPatch) -> None:
    close = Core._close_round

    def forgetful(self: Core, round_: int) -> None:
        close(self, round_)
        if len(self.rounds.reported) == 1 and self._num_starts == 1:
            self.rounds.reported.clear()

    patch.setattr(Core, "_close_round", forgetful)


@planted(caught_by="missing, in truth")
def hide_what_an_evaluation_misses(patch: pytest.MonkeyPatch) -> None:
    close = GroupBook.close_evaluation

    def flattering(self: GroupBook, round_: int) -> int:
        close(self, round_)
        return 0

    patch.setattr(GroupBook, "close_evaluation", flattering)


@planted(caught_by="it has its fate|complete are|the core differs")
def count_a_dropped_group_as_trained(patch: pytest.MonkeyPatch) -> None:
    def drop(self: GroupBook, group: Any, reason: Any, detail: str = "") -> None:
        for slot in group.slots:
            slot.state = SlotState.FILLED if slot.state is SlotState.EMPTY else slot.state
        self._note_completion(group)
        self.out.record(fa.GroupDropped(draw=group.key.draw, reason=reason, detail=detail))

    patch.setattr(GroupBook, "drop", drop)


@planted(caught_by="is not the wanted|lags")
def accept_samples_of_stale_versions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Core, "_is_admissible", lambda _self, _event: True)


@planted(caught_by="is not the wanted|lags")
def train_on_stale_groups(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Core, "_is_fresh", lambda _self, _group, _step: True)


@planted(caught_by="is graded by")
def ignore_the_grader_pin(patch: pytest.MonkeyPatch) -> None:
    judge = Core._judge

    def trusting(self: Core, event: Any, group: Any) -> Any:
        if group is not None:
            event = replace(event, grader_version=group.grader_version)
        return judge(self, event, group)

    patch.setattr(Core, "_judge", trusting)


@planted(caught_by="has samples of grader")
def pin_another_grader_half_way(patch: pytest.MonkeyPatch) -> None:
    def pin(_self: Core, group: Any, grader: str) -> bool:
        group.grader_version = grader
        return True

    patch.setattr(Core, "_pin_grader", pin)


@planted(caught_by="is graded by|the core differs")
def leave_the_grader_to_each_sample(patch: pytest.MonkeyPatch) -> None:
    fill = GroupBook.fill

    def unpinned(self: GroupBook, group: Any, sample: Any) -> None:
        pinned = group.grader_version
        fill(self, group, sample)
        group.grader_version = pinned

    patch.setattr(GroupBook, "fill", unpinned)


@planted(caught_by="KeyError")
def drop_a_batch_that_is_being_journaled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Core, "_unsealed", lambda self: list(self.groups.lane(Lane.TRAIN)))


@planted(caught_by="complete are|the core differs")
def forget_what_was_given_up(patch: pytest.MonkeyPatch) -> None:
    give_up = GroupBook.give_up_missing

    def silent(self: GroupBook, group: Any, detail: str) -> None:
        give_up(self, group, detail)
        if group.key.lane is Lane.TRAIN:
            self.out.facts.pop()

    patch.setattr(GroupBook, "give_up_missing", silent)


@planted(caught_by="after the run was stopped")
def go_on_after_a_stop(patch: pytest.MonkeyPatch) -> None:
    stop = Core._stop

    def deaf(self: Core, reason: str) -> None:
        stop(self, reason)
        self._is_stopping = False

    patch.setattr(Core, "_stop", deaf)


@planted(caught_by="is acknowledged as duplicate, durable is empty")
def acknowledge_what_was_refused(patch: pytest.MonkeyPatch) -> None:
    judge = Core._judge

    def polite(self: Core, event: Any, group: Any) -> Any:
        disposition, reason = judge(self, event, group)
        return (Disposition.DUPLICATE if disposition is Disposition.REFUSED else disposition), reason

    patch.setattr(Core, "_judge", polite)


@planted(caught_by="is covered by no checkpoint")
def cover_before_the_checkpoint_is_whole(patch: pytest.MonkeyPatch) -> None:
    finish = StepBook.finish

    def optimistic(self: StepBook, step: int) -> None:
        finish(self, step)
        self.cover(step, "soon")

    patch.setattr(StepBook, "finish", optimistic)


@planted(caught_by="is covered by no checkpoint")
def cover_as_soon_as_the_ranks_have_a_copy(patch: pytest.MonkeyPatch) -> None:
    def hasty(self: StepBook, step: int) -> None:
        if step == self.saving:
            self.cover(step, "soon")

    patch.setattr(StepBook, "note_copied", hasty)


@planted(caught_by="while its weights are copied")
def train_while_weights_are_copied(patch: pytest.MonkeyPatch) -> None:
    def idle(self: StepBook) -> bool:
        return self.are_ranks_ready and self.executing is None

    patch.setattr(StepBook, "is_idle", property(idle))


@planted(caught_by="while another is written")
def begin_a_checkpoint_before_the_former_is_whole(patch: pytest.MonkeyPatch) -> None:
    note_copied = StepBook.note_copied

    def forgetful(self: StepBook, step: int) -> None:
        note_copied(self, step)
        self.saving = None

    patch.setattr(StepBook, "note_copied", forgetful)


@planted(caught_by="but it was skipped|is poisoned")
def execute_a_skipped_step(patch: pytest.MonkeyPatch) -> None:
    execute_next = Core._execute_next

    def stubborn(self: Core) -> None:
        self.steps.skipped.clear()
        execute_next(self)

    patch.setattr(Core, "_execute_next", stubborn)
