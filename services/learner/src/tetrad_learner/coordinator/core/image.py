"""The durable image of a run: what the facts add up to, and how a core is restored from it.

`apply` is the meaning of each fact. The SQLite store keeps the same tables; a test folds both and compares.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tetrad_learner.coordinator.core import facts as fa
from tetrad_learner.coordinator.core.core import Core
from tetrad_learner.coordinator.core.device_image import DeviceImage, restore_device
from tetrad_learner.coordinator.core.groups import Group, Slot
from tetrad_learner.coordinator.core.keys import training
from tetrad_learner.coordinator.core.leases import Lease
from tetrad_learner.coordinator.core.tables import DropReason, LeaseState, SlotState, StepState
from tetrad_learner.coordinator.core.versions import Version
from tetrad_wire.ids import Draw, Incarnation, PolicyVersion, Token
from tetrad_wire.messages.membership import RunState


@dataclass(slots=True)
class SlotImage:
    """One sample."""

    state: SlotState = SlotState.EMPTY
    versions: tuple[PolicyVersion, ...] = ()
    digest: str = ""
    step: int | None = None
    """The step it is sealed in."""
    reward: float = 0.0


@dataclass(slots=True)
class GroupImage:
    """One draw."""

    slots: list[SlotImage]
    grader_version: str = ""
    reason: str = ""
    """Why it was dropped; empty if it was not."""
    dropped_for: int | None = None
    """The step that was waited for when it was dropped."""


@dataclass(slots=True)
class LeaseImage:
    """One lease of a training group."""

    draw: Draw
    engine: Incarnation
    version: PolicyVersion
    state: LeaseState = LeaseState.HELD


@dataclass(slots=True)
class StepImage:
    """One training step."""

    state: StepState
    draws: tuple[int, ...]
    journal_hash: str
    attempts: int = 0
    multiplicities: tuple[int, ...] = ()


@dataclass(slots=True)
class LedgerImage:
    """Everything durable."""

    groups: dict[int, GroupImage] = field(default_factory=dict)
    cursor: int = 0
    leases: dict[Token, LeaseImage] = field(default_factory=dict)
    steps: dict[int, StepImage] = field(default_factory=dict)
    versions: dict[PolicyVersion, Version] = field(default_factory=dict)
    lineage: int = 0
    lineages_from: dict[int, int] = field(default_factory=dict)
    executed: int = 0
    covered: int = 0
    rounds: set[int] = field(default_factory=set)
    poisoned: set[int] = field(default_factory=set)
    skipped: set[int] = field(default_factory=set)
    state: RunState = RunState.STARTING
    reason: str = ""
    device: DeviceImage = field(default_factory=DeviceImage)

    @property
    def num_filtered(self) -> int:
        """Groups that dynamic sampling has refused for the step that is waited for."""
        step = self._next_step
        return sum(
            group.dropped_for == step and group.reason == DropReason.FILTERED.value for group in self.groups.values()
        )

    @property
    def _next_step(self) -> int:
        return max(self.steps, default=0) + 1

    def apply_all(self, facts: Iterable[fa.Fact]) -> None:
        """Apply facts in order."""
        for fact in facts:
            self.apply(fact)

    def apply(self, fact: fa.Fact) -> None:
        """Change the image by one fact."""
        match fact:
            case fa.GroupDrawn():
                self.groups[fact.draw] = GroupImage([SlotImage() for _ in range(fact.size)])
                self.cursor = fact.draw + 1
            case fa.LeaseBegun():
                self.leases[fact.token] = LeaseImage(fact.draw, fact.engine, fact.version)
                self.groups[fact.draw].grader_version = fact.grader_version
            case fa.LeaseOver():
                self.leases[fact.token].state = fact.state
            case fa.SlotFilled():
                filled = SlotImage(SlotState.FILLED, fact.versions, fact.digest, reward=fact.reward)
                self.groups[fact.draw].slots[fact.index] = filled
                self.groups[fact.draw].grader_version = fact.grader_version
            case fa.MissingGivenUp():
                for slot in self.groups[fact.draw].slots:
                    slot.state = SlotState.DROPPED if slot.state is SlotState.EMPTY else slot.state
            case fa.GroupDropped():
                self._drop(fact)
            case fa.StepSealed():
                self._seal(fact)
            case fa.StepAttempted():
                self.steps[fact.step].attempts += 1
            case fa.StepExecuted():
                self.steps[fact.step].state = StepState.EXECUTED
                self.steps[fact.step].attempts = 0
                self.executed = fact.step
            case fa.LineageOpened():
                self._open_lineage(fact)
            case fa.VersionMinted():
                self.versions[fact.version] = Version(fact.version, fact.lineage, fact.step)
            case fa.VersionPublished():
                self.versions[fact.version].digest = fact.digest
            case fa.StepsCovered():
                self._cover(fact.step)
            case fa.EvaluationClosed():
                self.rounds.add(fact.round)
            case fa.StepMarkedPoisoned():
                self.poisoned.add(fact.step)
            case fa.StepSkipped():
                self.poisoned.discard(fact.step)
                self.skipped.add(fact.step)
            case fa.RunChanged():
                self.state, self.reason = fact.state, fact.reason
            case fa.PhaseEntered() | fa.HolderAdmitted() | fa.HolderGone():
                self.device.apply(fact)
            case _:
                raise AssertionError(f"no rule for {type(fact).__name__}")

    def _drop(self, fact: fa.GroupDropped) -> None:
        group = self.groups[fact.draw]
        group.reason, group.dropped_for = fact.reason.value, self._next_step
        for slot in group.slots:
            slot.state = SlotState.DROPPED

    def _seal(self, fact: fa.StepSealed) -> None:
        self.steps[fact.step] = StepImage(
            StepState.SEALED, fact.draws, fact.journal_hash, multiplicities=fact.multiplicities
        )
        for draw in fact.draws:
            for slot in self.groups[draw].slots:
                if slot.state is SlotState.FILLED:
                    slot.state, slot.step = SlotState.SEALED, fact.step

    def _open_lineage(self, fact: fa.LineageOpened) -> None:
        self.lineage, self.executed, self.covered = fact.lineage, fact.from_step, fact.from_step
        self.lineages_from[fact.from_step] = fact.attempt
        for step, image in self.steps.items():
            image.state = StepState.SEALED if step > fact.from_step else StepState.COVERED

    def _cover(self, step: int) -> None:
        self.covered = step
        for number, image in self.steps.items():
            if number <= step and image.state is StepState.EXECUTED:
                image.state = StepState.COVERED


def restore(core: Core, image: LedgerImage, *, now: float) -> None:
    """Bring a new core to the state of `image`; the ranks are not there yet.

    Engines that hold leases are presumed alive for one liveness period, so that they can report.
    What the restart itself decides comes out with the first event.
    """
    _restore_steps(core, image)
    _restore_versions(core, image)
    core.rounds.reported |= image.rounds
    core.poisoned |= image.poisoned
    core.steps.skipped |= image.skipped
    restore_device(core.device, image.device)
    _restore_work(core, image, now)
    core.begin_again(image.state)


def _restore_work(core: Core, image: LedgerImage, now: float) -> None:
    core.groups.cursor = image.cursor
    core.drops.num_filtered = image.num_filtered
    held = {token: lease for token, lease in image.leases.items() if lease.state is LeaseState.HELD}
    owners = {lease.draw: token for token, lease in held.items()}
    for draw, group in image.groups.items():
        if any(slot.state in (SlotState.EMPTY, SlotState.FILLED) for slot in group.slots):
            core.groups.add(_group(draw, group, owners.get(Draw(draw))))
    for token, lease in held.items():
        core.leases.leases[token] = Lease(token, training(lease.draw), lease.engine, lease.version, now, now)
    for engine in {lease.engine for lease in held.values()}:
        core.engines.join(engine, credit=0, num_leases=len(core.leases.of_engine(engine)), now=now)


def _restore_steps(core: Core, image: LedgerImage) -> None:
    steps = core.steps
    steps.sealed = max(image.steps, default=0)
    steps.executed, steps.covered = image.executed, image.covered
    steps.lineage = image.lineage
    steps.lineages_from.update(image.lineages_from)
    # Every executed step was given a number to publish, replays excepted: so far must the next replay go.
    steps.replay_until = max((version.step for version in image.versions.values()), default=0)
    for number, step in image.steps.items():
        steps.states[number] = step.state
        if step.attempts:
            steps.attempts[number] = step.attempts


def _restore_versions(core: Core, image: LedgerImage) -> None:
    book = core.versions
    book.versions.update({number: replace(version) for number, version in image.versions.items()})
    book.current = book.versions[max(book.versions)] if book.versions else None
    # What engines run while the ranks come back: the newest published version.
    published = [number for number, version in book.versions.items() if version.digest]
    if published:
        book.want(book.versions[max(published)])


def _group(draw: int, image: GroupImage, token: Token | None) -> Group:
    slots = [Slot(slot.state, slot.versions, slot.digest, slot.reward) for slot in image.slots]
    return Group(training(draw), slots, token=token, grader_version=image.grader_version)
