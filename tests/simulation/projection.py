"""The durable part of a core's state, and the same read from an image without the core's help."""

from typing import Any

from tetrad_learner.coordinator.core import Core
from tetrad_learner.coordinator.core.image import LedgerImage
from tetrad_learner.coordinator.core.tables import LeaseState, SlotState
from tetrad_wire.ids import Draw
from tetrad_wire.messages.leases import Lane

OPEN = (SlotState.EMPTY, SlotState.FILLED)


def of_core(core: Core) -> dict[str, Any]:
    """What must survive a restart."""
    steps = core.steps
    return {
        "cursor": core.groups.cursor,
        "filtered": core.drops.num_filtered,
        "groups": {
            int(key.draw): (
                [(slot.state, slot.versions, slot.digest, slot.reward) for slot in group.slots],
                group.grader_version,
                group.token,
            )
            for key, group in core.groups.groups.items()
            if key.lane is Lane.TRAIN
        },
        "leases": {
            lease.token: (lease.key.draw, lease.engine, lease.version)
            for lease in core.leases.leases.values()
            if lease.key.lane is Lane.TRAIN
        },
        "steps": (steps.sealed, steps.executed, steps.covered, steps.lineage),
        "states": steps.states,
        "attempts": steps.attempts,
        "versions": {v.number: (v.lineage, v.step, v.digest) for v in core.versions.versions.values()},
        "current": core.versions.current.number if core.versions.current else None,
        "rounds": core.rounds.reported,
        "poisoned": core.poisoned,
        "skipped": core.steps.skipped,
        "device": (
            core.device.phase,
            core.device.turn,
            {engine: holder.process for engine, holder in core.device.holders.items()},
        ),
    }


def of_image(image: LedgerImage) -> dict[str, Any]:
    """The same, from the facts alone."""
    held = {token: lease for token, lease in image.leases.items() if lease.state is LeaseState.HELD}
    owner = {lease.draw: token for token, lease in held.items()}
    return {
        "cursor": image.cursor,
        "filtered": image.num_filtered,
        "groups": {
            draw: (
                [(slot.state, slot.versions, slot.digest, slot.reward) for slot in group.slots],
                group.grader_version,
                owner.get(Draw(draw)),
            )
            for draw, group in image.groups.items()
            if any(slot.state in OPEN for slot in group.slots)
        },
        "leases": {token: (lease.draw, lease.engine, lease.version) for token, lease in held.items()},
        "steps": (len(image.steps), image.executed, image.covered, image.lineage),
        "states": {number: step.state for number, step in image.steps.items()},
        "attempts": {number: step.attempts for number, step in image.steps.items() if step.attempts},
        "versions": {v.number: (v.lineage, v.step, v.digest) for v in image.versions.values()},
        "current": max(image.versions, default=None),
        "rounds": image.rounds,
        "poisoned": image.poisoned,
        "skipped": image.skipped,
        "device": (image.device.phase, image.device.turn, image.device.holders),
    }


def difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """What differs, named; empty if nothing does."""
    return "; ".join(f"{name}: {one[name]} != {other[name]}" for name in one if one[name] != other[name])
