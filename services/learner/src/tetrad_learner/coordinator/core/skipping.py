"""Skipping a poisoned step: what must become durable before a coordinator may go on without it. Pure."""

from tetrad_learner.coordinator.core.facts import Fact, GroupDropped, StepSkipped
from tetrad_learner.coordinator.core.image import LedgerImage
from tetrad_learner.coordinator.core.tables import DropReason
from tetrad_wire.ids import Draw


class SkipError(ValueError):
    """The step cannot be skipped; the text says which can."""


def skipped(image: LedgerImage, step: int) -> list[Fact]:
    """Return the facts that skip `step`: its samples get their fate. None where it has been skipped before.

    Raises SkipError where the step is not poisoned: what can be executed is executed.
    """
    if step in image.skipped:
        return []
    if step not in image.poisoned:
        poisoned = ", ".join(map(str, sorted(image.poisoned))) or "no step"
        raise SkipError(f"step {step} cannot be skipped: it is not poisoned; poisoned is {poisoned}")
    detail = f"step {step} gave a non-finite loss and was skipped"
    drops = [
        GroupDropped(draw=Draw(draw), reason=DropReason.SKIPPED, detail=detail) for draw in image.steps[step].draws
    ]
    return [*drops, StepSkipped(step=step)]
