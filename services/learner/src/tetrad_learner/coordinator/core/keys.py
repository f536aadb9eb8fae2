"""Which group: a lane, a round of evaluation, a draw."""

from collections.abc import Callable
from typing import NamedTuple

from tetrad_wire.ids import Draw
from tetrad_wire.messages.leases import Lane


class GroupKey(NamedTuple):
    """Identity of a group; sorts by draw within its lane."""

    lane: Lane
    round: int
    """The step that is evaluated; 0 in the training lane."""
    draw: Draw


GraderLookup = Callable[[GroupKey, str], str | None]
"""The grader version for a group now: the given one, to which it is pinned, while a replica offers that, else the
current one; None while no replica serves it."""


def training(draw: int) -> GroupKey:
    """The key of a drawn group."""
    return GroupKey(Lane.TRAIN, 0, Draw(draw))
