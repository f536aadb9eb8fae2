"""Dynamic sampling: which complete groups a step is trained on, and how often each. Pure.

A group is judged by the rewards of its episodes, as they were graded: what shaping makes of them later plays no part.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tetrad_learner.coordinator.core.config import CoreConfig, Sampling
from tetrad_learner.coordinator.core.effects import Journal
from tetrad_learner.coordinator.core.groups import Group
from tetrad_wire.messages.leases import Lane


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step is trained on."""

    groups: tuple[Group, ...] = ()
    multiplicities: tuple[int, ...] = ()
    """How often each group is trained on; empty means once each."""
    replaced: tuple[Group, ...] = ()
    """Flat groups in whose places the copies are; they are dropped as the step is sealed."""

    @property
    def draws(self) -> tuple[int, ...]:
        """Draws of the groups that are trained on."""
        return tuple(group.key.draw for group in self.groups)

    def journal(self, *, step: int, lineage: int) -> Journal:
        """Have it written."""
        return Journal(step=step, lineage=lineage, draws=self.draws, multiplicities=self.multiplicities)

    @property
    def members(self) -> frozenset[int]:
        """Draws of all groups whose fate is that of this batch."""
        return frozenset((*self.draws, *(group.key.draw for group in self.replaced)))


def is_unwanted(group: Group, config: CoreConfig) -> bool:
    """Whether a group has come to nothing: it is complete, it is flat, and others are drawn in place of such."""
    is_filtered = config.sampling is Sampling.FILTER and group.key.lane is Lane.TRAIN
    return is_filtered and group.is_complete and group.is_flat


def batch_of(groups: Sequence[Group], config: CoreConfig) -> Batch | None:
    """What a step makes of the next complete groups; None where too many are flat: all of them are drawn anew."""
    good = tuple(group for group in groups if not group.is_flat)
    if config.sampling is not Sampling.REPLACE or len(good) == len(groups):
        return Batch(tuple(groups))
    # A quotient of integers is the float nearest to it, as is the number in the run file: on the border they are equal.
    if len(good) / len(groups) < config.min_replace_ratio:
        return None
    flat = tuple(group for group in groups if group.is_flat)
    return Batch(good, dealt(len(good), num_places=len(groups)), flat)


def dealt(num_groups: int, *, num_places: int) -> tuple[int, ...]:
    """Deal the places of a batch to the groups in turn, the first draw first.

    There is no chance in it, so that every coordinator deals alike, and no group gets two more than another.

    >>> dealt(3, num_places=8)
    (3, 3, 2)
    """
    each, left = divmod(num_places, num_groups)
    return tuple(each + (place < left) for place in range(num_groups))
