"""What becomes of a sample whose group is not open. Pure."""

from tetrad_learner.coordinator.core.keys import GroupKey
from tetrad_wire.messages.leases import Disposition, Lane


def judge_unknown(key: GroupKey, *, cursor: int) -> tuple[Disposition, str]:
    """A group that is over has its fate; one beyond the cursor was never drawn."""
    if key.lane is Lane.EVAL:
        return Disposition.DUPLICATE, "that evaluation is over"
    if key.draw < cursor:
        return Disposition.DUPLICATE, "that group has its fate"
    return Disposition.REFUSED, "that group was never drawn"
