"""Groups and their slots: who has a sample, who still needs one, who got which fate.

A slot is filled at most once; that is the rule that everything else may break without harm.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tetrad_learner.coordinator.core.events import SampleArrived
from tetrad_learner.coordinator.core.facts import GroupDrawn, GroupDropped, MissingGivenUp, SlotFilled
from tetrad_learner.coordinator.core.keys import GroupKey, training
from tetrad_learner.coordinator.core.outcome import Outcome
from tetrad_learner.coordinator.core.tables import SLOT, DropReason, SlotState, follow
from tetrad_wire.ids import Draw, Incarnation, PolicyVersion, Token
from tetrad_wire.messages.leases import Lane

# Delay before a group is leased again after its n-th failure of infrastructure.
FIRST_RETRY_S: Final = 0.1
MAX_RETRY_S: Final = 10.0
# Entries of groups that wait no more before their queue is made anew.
MAX_OUTDATED: Final = 256


@dataclass(slots=True)
class Slot:
    """One sample of a group."""

    state: SlotState = SlotState.EMPTY
    versions: tuple[PolicyVersion, ...] = ()
    digest: str = ""
    reward: float = 0.0

    def become(self, state: SlotState) -> None:
        """Follow the table."""
        self.state = follow(SLOT, self.state, state)


@dataclass(slots=True)
class Group:
    """The samples of one prompt on their way to a training step or an evaluation."""

    key: GroupKey
    slots: list[Slot]
    token: Token | None = None
    """The lease that owns it now."""
    grader_version: str = ""
    """Pinned by its lease, or by its first sample where no replica names one; empty until then."""
    infra_failures: int = 0
    data_failures: int = 0
    not_before: float = 0.0
    """Back-off: not leased again before this time."""
    avoided: Incarnation | None = None
    """The engine that failed it last."""

    @property
    def missing(self) -> tuple[int, ...]:
        """Indices without a sample."""
        return tuple(i for i, slot in enumerate(self.slots) if slot.state is SlotState.EMPTY)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing any more."""
        return all(slot.state is not SlotState.EMPTY for slot in self.slots)

    @property
    def num_filled(self) -> int:
        """Samples in the inbox."""
        return sum(slot.state is SlotState.FILLED for slot in self.slots)

    @property
    def is_flat(self) -> bool:
        """Whether it has samples and their rewards are all equal; a single one has nothing to be equal to."""
        # Compared, not by their deviation: that of equal rewards need not come out as 0.
        rewards = [slot.reward for slot in self.slots if slot.state is SlotState.FILLED]
        return len(rewards) > 1 and min(rewards) == max(rewards)

    @property
    def versions(self) -> frozenset[PolicyVersion]:
        """Every policy version that its samples were drawn by."""
        return frozenset(version for slot in self.slots for version in slot.versions)

    def postpone(self, *, avoiding: Incarnation, now: float) -> None:
        """Count a failure that was not the prompt's; the next lease waits, and goes elsewhere if it can."""
        self.infra_failures += 1
        self.avoided = avoiding
        self.not_before = now + min(FIRST_RETRY_S * 2 ** (self.infra_failures - 1), MAX_RETRY_S)


@dataclass(slots=True)
class GroupBook:
    """The open groups of both lanes, and the dataset cursor."""

    out: Outcome
    cursor: int = 0
    """Groups drawn so far; the next draw."""
    groups: dict[GroupKey, Group] = field(default_factory=dict)
    unleased: dict[Lane, set[GroupKey]] = field(default_factory=lambda: {lane: set() for lane in Lane})
    """Groups that miss samples and belong to no lease."""
    _queues: dict[Lane, list[GroupKey]] = field(default_factory=lambda: {lane: [] for lane in Lane})
    """Heaps of the same; an entry that is unleased no more, or is there twice, is passed over."""
    num_evaluating: int = 0
    """Evaluation groups that miss samples."""
    num_open: int = 0
    """Training groups running or waiting."""
    num_complete: int = 0
    """Training groups that wait to be sealed."""

    @property
    def begun_graders(self) -> set[str]:
        """The graders of groups that have samples and miss some."""
        begun = (group for group in self.groups.values() if group.num_filled and not group.is_complete)
        return {group.grader_version for group in begun}

    def draw(self, size: int) -> Group:
        """Move the cursor on and open the group."""
        key = training(self.cursor)
        self.cursor += 1
        self.out.record(GroupDrawn(draw=key.draw, size=size))
        return self._open(key, size)

    def open_evaluation(self, round_: int, sizes: Iterable[int]) -> None:
        """Open one group for each evaluated row."""
        for ordinal, size in enumerate(sizes):
            self._open(GroupKey(Lane.EVAL, round_, Draw(ordinal)), size)

    def fill(self, group: Group, sample: SampleArrived) -> None:
        """Put a sample into an empty slot; the caller has checked that it is empty."""
        slot = group.slots[sample.index]
        slot.become(SlotState.FILLED)
        slot.versions, slot.digest, slot.reward = sample.versions, sample.digest, sample.reward
        group.grader_version = sample.grader_version
        self._note_completion(group)
        if group.key.lane is Lane.TRAIN:
            self.out.record(
                SlotFilled(
                    draw=group.key.draw,
                    index=sample.index,
                    token=sample.token,
                    versions=sample.versions,
                    grader_version=sample.grader_version,
                    digest=sample.digest,
                    reward=sample.reward,
                    num_tokens=sample.num_tokens,
                )
            )

    def drop(self, group: Group, reason: DropReason, detail: str = "") -> None:
        """Give the whole group its fate."""
        was_complete = group.is_complete
        for slot in group.slots:
            if slot.state is not SlotState.DROPPED:
                slot.become(SlotState.DROPPED)
        self._forget(group, was_complete=was_complete)
        if group.key.lane is Lane.TRAIN:
            self.out.record(GroupDropped(draw=group.key.draw, reason=reason, detail=detail))

    def give_up_missing(self, group: Group, detail: str) -> None:
        """Let the group be trained, or scored, without the samples that cannot be had."""
        for index in group.missing:
            group.slots[index].become(SlotState.DROPPED)
        self._note_completion(group)
        if group.key.lane is Lane.TRAIN:
            self.out.record(MissingGivenUp(draw=group.key.draw, detail=detail))

    def seal(self, groups: Iterable[Group]) -> None:
        """The groups are in a sealed step: they leave the book."""
        for group in groups:
            for slot in group.slots:
                if slot.state is SlotState.FILLED:
                    slot.become(SlotState.SEALED)
            self._forget(group, was_complete=True)

    def close_evaluation(self, round_: int) -> int:
        """Forget a round's groups; return how many samples have no result, given up or not."""
        closing = [group for group in self.groups.values() if group.key[:2] == (Lane.EVAL, round_)]
        for group in closing:
            self._forget(group, was_complete=group.is_complete)
        return sum(len(group.slots) - group.num_filled for group in closing)

    def lane(self, lane: Lane) -> Iterator[Group]:
        """Open groups of a lane in the order of their identity."""
        return (self.groups[key] for key in sorted(self.groups) if key.lane is lane)

    def complete(self) -> list[Group]:
        """Training groups that wait to be sealed, in draw order."""
        return [group for group in self.lane(Lane.TRAIN) if group.is_complete]

    def ready(self, lane: Lane, now: float, *, limit: int) -> list[Group]:
        """The first groups to be leased now, in the order of their identity."""
        unleased, queue = self.unleased[lane], self._queues[lane]
        seen: set[GroupKey] = set()
        due: list[Group] = []
        while queue and len(due) < limit:
            key = heapq.heappop(queue)
            if key in unleased and key not in seen:
                seen.add(key)
                if now >= self.groups[key].not_before:
                    due.append(self.groups[key])
        # Whoever gets no lease after all, or is in back-off, keeps its place.
        for key in seen:
            heapq.heappush(queue, key)
        return due

    def assign(self, group: Group, token: Token) -> None:
        """The group belongs to a lease."""
        group.token = token
        self.unleased[group.key.lane].discard(group.key)

    def release(self, group: Group) -> None:
        """The group's lease is over."""
        group.token = None
        if not group.is_complete:
            self._wait(group.key)

    def add(self, group: Group) -> None:
        """Take a group in, as drawn or as restored."""
        self.groups[group.key] = group
        if not group.is_complete and group.token is None:
            self._wait(group.key)
        if group.key.lane is Lane.TRAIN:
            self.num_open += 1
            self.num_complete += group.is_complete
        else:
            self.num_evaluating += not group.is_complete

    def _wait(self, key: GroupKey) -> None:
        unleased, queue = self.unleased[key.lane], self._queues[key.lane]
        unleased.add(key)
        heapq.heappush(queue, key)
        # Whoever is leased as soon as it is drawn leaves its entry behind.
        if len(queue) > 2 * len(unleased) + MAX_OUTDATED:
            queue[:] = sorted(unleased)

    def _open(self, key: GroupKey, size: int) -> Group:
        group = Group(key, [Slot() for _ in range(size)])
        self.add(group)
        return group

    def _note_completion(self, group: Group) -> None:
        if group.is_complete:
            self.unleased[group.key.lane].discard(group.key)
            if group.key.lane is Lane.TRAIN:
                self.num_complete += 1
            else:
                self.num_evaluating -= 1

    def _forget(self, group: Group, *, was_complete: bool) -> None:
        del self.groups[group.key]
        self.unleased[group.key.lane].discard(group.key)
        if group.key.lane is Lane.TRAIN:
            self.num_open -= 1
            self.num_complete -= was_complete
        else:
            self.num_evaluating -= not was_complete
