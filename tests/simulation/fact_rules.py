"""What each fact may do to the ledger: the rules of the protocol, checked against everything recorded so far."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from simulation import sampling_rules
from tetrad_learner.coordinator.core import facts as fa
from tetrad_learner.coordinator.core.device_phases import DEVICE, ENGINES_MAY_HOLD
from tetrad_learner.coordinator.core.image import LedgerImage
from tetrad_learner.coordinator.core.tables import LEASE, RUN, STEP, LeaseState, SlotState, StepState

if TYPE_CHECKING:
    from simulation.watch import Watch


def check(watch: "Watch", fact: fa.Fact) -> None:
    """Raise Broken if `fact` may not follow what the watch has recorded."""
    rule = RULES.get(type(fact))
    if rule is not None:
        rule(watch, watch.image, fact)


def _drawn(watch: "Watch", image: LedgerImage, fact: fa.GroupDrawn) -> None:
    watch.expect(not watch.is_stopped, f"draw {fact.draw} after the run was stopped")
    watch.expect(fact.draw == image.cursor, f"draw {fact.draw} after {image.cursor} groups")
    config = watch.config
    wanted = watch.core.versions.wanted
    sealed = len(image.steps)
    beyond = sealed - wanted.step if wanted is not None else 0
    admitted = len(watch.open) + beyond * config.batch_size
    limit = (config.max_staleness + 1) * config.batch_size
    watch.expect(admitted < limit, f"admission: {admitted} groups are admitted, the limit is {limit}")
    needed = (config.num_steps - sealed) * config.batch_size
    sampling_rules.check_drawn(watch)
    watch.expect(len(watch.open) < needed, f"admission: {len(watch.open)} open groups, {needed} are still needed")
    watch.open.add(fact.draw)


def _leased(watch: "Watch", image: LedgerImage, fact: fa.LeaseBegun) -> None:
    watch.expect(fact.token > watch.last_token, f"token {fact.token} after {watch.last_token}")
    watch.last_token = fact.token
    watch.expect(fact.draw in watch.open, f"draw {fact.draw} is leased, but it has its fate")
    owned = watch.owner.get(fact.draw)
    watch.expect(owned is None, f"draw {fact.draw} is leased twice: {owned} and {fact.token}")
    watch.owner[fact.draw] = fact.token
    group = image.groups[fact.draw]
    is_begun = any(slot.state is SlotState.FILLED for slot in group.slots)
    pinned = group.grader_version
    is_pinned = not is_begun or (pinned != "" and pinned == fact.grader_version)
    watch.expect(is_pinned, f"draw {fact.draw} has samples of grader {pinned}, leased with {fact.grader_version}")


def _over(watch: "Watch", image: LedgerImage, fact: fa.LeaseOver) -> None:
    lease = image.leases.get(fact.token)
    watch.expect(lease is not None, f"lease {fact.token} ends, but never began")
    assert lease is not None
    watch.expect(fact.state in LEASE[lease.state], f"lease {fact.token}: {lease.state} becomes {fact.state}")
    watch.owner.pop(lease.draw, None)
    if fact.state is LeaseState.EXPIRED:
        watch.check_forgiven(fact.token)


def _filled(watch: "Watch", image: LedgerImage, fact: fa.SlotFilled) -> None:
    slot = image.groups[fact.draw].slots[fact.index]
    is_empty = slot.state is SlotState.EMPTY and fact.draw in watch.open
    watch.expect(is_empty, f"slot {fact.draw}/{fact.index} is filled, but it is {slot.state}")
    sealed = len(image.steps)
    for version in fact.versions:
        watch.check_lag(version, sealed + 1, f"slot {fact.draw}/{fact.index}")
    if watch.config.max_staleness == 0:
        watch.check_wanted(fact.versions, f"slot {fact.draw}/{fact.index}")


def _given_up(watch: "Watch", image: LedgerImage, fact: Any) -> None:
    states = [slot.state for slot in image.groups[fact.draw].slots]
    num_filled = states.count(SlotState.FILLED)
    watch.expect(fact.draw in watch.open, f"draw {fact.draw} has its fate")
    watch.expect(
        num_filled >= watch.config.trainable_size,
        f"draw {fact.draw} goes on with {num_filled} samples, it needs {watch.config.trainable_size}",
    )


def _dropped(watch: "Watch", _image: LedgerImage, fact: fa.GroupDropped) -> None:
    watch.expect(fact.draw in watch.open, f"draw {fact.draw} is dropped, but it has its fate")
    sampling_rules.check_dropped(watch, fact)
    watch.open.discard(fact.draw)


def _sealed(watch: "Watch", image: LedgerImage, fact: fa.StepSealed) -> None:
    watch.expect(fact.step == len(image.steps) + 1, f"step {fact.step} is sealed after {len(image.steps)}")
    sampling_rules.check_sealed(watch, fact)
    batch = watch.batches.get(fact.step)
    watch.expect(fact.draws == batch, f"step {fact.step} is sealed with {fact.draws}, journaled were {batch}")
    for draw in fact.draws:
        watch.expect(draw in watch.open, f"draw {draw} is sealed in step {fact.step}, but it has its fate")
        watch.check_trainable(draw, fact.step)
        watch.open.discard(draw)


def _attempted(watch: "Watch", image: LedgerImage, fact: fa.StepAttempted) -> None:
    watch.expect(fact.step == image.executed + 1, f"step {fact.step} is begun after {image.executed}")
    watch.expect(fact.step in image.steps, f"step {fact.step} is begun, but not sealed")
    watch.expect(fact.lineage == image.lineage, f"lineage {fact.lineage}, the ranks' is {image.lineage}")


def _executed(watch: "Watch", image: LedgerImage, fact: fa.StepExecuted) -> None:
    watch.expect(fact.step == image.executed + 1, f"step {fact.step} is executed after {image.executed}")
    watch.expect(fact.lineage == image.lineage, f"lineage {fact.lineage}, the ranks' is {image.lineage}")
    state = image.steps[fact.step].state
    watch.expect(StepState.EXECUTED in STEP[state], f"step {fact.step} is executed, but it is {state}")


def _lineage(watch: "Watch", image: LedgerImage, fact: fa.LineageOpened) -> None:
    watch.expect(fact.lineage == image.lineage + 1, f"lineage {fact.lineage} after {image.lineage}")


def _minted(watch: "Watch", image: LedgerImage, fact: fa.VersionMinted) -> None:
    newest = max(image.versions, default=0)
    watch.expect(fact.version > newest, f"version {fact.version} is minted after {newest}")
    held = (image.lineage, image.executed)
    watch.expect((fact.lineage, fact.step) == held, f"version {fact.version} is of {fact}, the ranks are at {held}")


def _published(watch: "Watch", image: LedgerImage, fact: fa.VersionPublished) -> None:
    version = image.versions.get(fact.version)
    is_open = version is not None and version.digest == ""
    watch.expect(is_open and fact.digest != "", f"version {fact.version} is published as {fact.digest!r}")


def _covered(watch: "Watch", image: LedgerImage, fact: fa.StepsCovered) -> None:
    watch.expect(fact.step <= image.executed, f"step {fact.step} is covered, {image.executed} are executed")
    watch.expect(fact.step in watch.world.disk.checkpoints, f"step {fact.step} is covered by no checkpoint")


def _round(watch: "Watch", image: LedgerImage, fact: fa.EvaluationClosed) -> None:
    watch.expect(fact.round not in image.rounds, f"evaluation {fact.round} is closed twice")


def _phase(watch: "Watch", image: LedgerImage, fact: fa.PhaseEntered) -> None:
    device = image.device
    watch.expect(watch.config.is_colocated, f"{fact} where nothing is shared")
    watch.expect(fact.phase in DEVICE[device.phase], f"device lease: {device.phase} becomes {fact.phase}")
    is_other = ENGINES_MAY_HOLD[fact.phase] is not ENGINES_MAY_HOLD[device.phase]
    watch.expect(fact.turn == device.turn + is_other, f"turn {fact.turn} after {device.turn}, {device.phase}")


def _admitted(watch: "Watch", image: LedgerImage, fact: fa.HolderAdmitted) -> None:
    watch.expect(fact.engine not in image.device.holders, f"{fact.engine} is admitted twice")


def _gone(watch: "Watch", _image: LedgerImage, fact: fa.HolderGone) -> None:
    watch.expect(not watch.world.is_process_alive(fact.engine), f"{fact.engine} is buried, but it lives")


def _run(watch: "Watch", image: LedgerImage, fact: fa.RunChanged) -> None:
    watch.expect(fact.state in RUN[image.state], f"run: {image.state} becomes {fact.state}")
    sampling_rules.check_run(watch, fact)


RULES: Final[Mapping[type[fa.Fact], Callable[..., None]]] = {
    fa.GroupDrawn: _drawn,
    fa.LeaseBegun: _leased,
    fa.LeaseOver: _over,
    fa.SlotFilled: _filled,
    fa.GroupDropped: _dropped,
    fa.StepSealed: _sealed,
    fa.StepAttempted: _attempted,
    fa.StepExecuted: _executed,
    fa.LineageOpened: _lineage,
    fa.VersionMinted: _minted,
    fa.VersionPublished: _published,
    fa.StepsCovered: _covered,
    fa.EvaluationClosed: _round,
    fa.RunChanged: _run,
    fa.PhaseEntered: _phase,
    fa.HolderAdmitted: _admitted,
    fa.HolderGone: _gone,
}
