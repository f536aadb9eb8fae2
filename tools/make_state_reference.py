"""Write `docs/reference/state-machines.md` from the literal tables of the code."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from make_protocol_reference import sentence, sentences_of, table
from reference_page import publish

from tetrad_learner.coordinator.core.device_phases import DEVICE, DevicePhase
from tetrad_learner.coordinator.core.tables import LEASE, RUN, SLOT, STEP, LeaseState, SlotState, StepState
from tetrad_reward import episodes
from tetrad_reward.episodes import EpisodeState
from tetrad_rollout.engine import weight_state
from tetrad_rollout.engine.weight_state import WeightState
from tetrad_wire.messages.membership import RunState

HEAD: Final = """# State machines

<!-- Made by tools/make_state_reference.py from the tables of the code; do not edit. -->

Each machine is a literal table in the code, and nothing changes a state but by that table: a transition that is not
drawn here raises. The rules behind them are in [the ledger](../explanation/ledger.md) and
[weights](../explanation/weights.md).
"""

Edge = tuple[StrEnum, StrEnum, str]
"""From, to, and what has to happen; empty where the table names no event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine as it is drawn."""

    title: str
    where: str
    """Module and name of the table."""
    about: str
    states: type[StrEnum]
    initial: StrEnum
    edges: tuple[Edge, ...]


def machines() -> Iterator[Machine]:
    """Every machine, from the whole to the part."""
    core = "tetrad_learner.coordinator.core.tables"
    yield Machine(
        title="Run",
        where=f"{core}.RUN",
        about="Written to the ledger. Each start of the coordinator begins again at `starting`, whatever was before.",
        states=RunState,
        initial=RunState.STARTING,
        edges=_plain(RUN),
    )
    yield Machine(
        title="Step",
        where=f"{core}.STEP",
        about="Back to `sealed` when the ranks are loaded from a checkpoint before the step: it is executed again from "
        "the journal. From `sealed` at once to `covered` when the checkpoint that they load already contains it.",
        states=StepState,
        initial=StepState.SEALED,
        edges=_plain(STEP),
    )
    yield Machine(
        title="Slot",
        where=f"{core}.SLOT",
        about="One sample of a drawn group. A slot is filled at most once; every slot ends as `sealed` or `dropped`.",
        states=SlotState,
        initial=SlotState.EMPTY,
        edges=_plain(SLOT),
    )
    yield Machine(
        title="Lease",
        where=f"{core}.LEASE",
        about="A whole group on one incarnation of an engine. A lease decides ownership and cancellation, never what a "
        "late sample is worth.",
        states=LeaseState,
        initial=LeaseState.HELD,
        edges=_plain(LEASE),
    )
    yield Machine(
        title="Device lease",
        where="tetrad_learner.coordinator.core.device_phases.DEVICE",
        about="Written to the ledger; one for all GPUs of a run with `trainer.placement.colocate_all`. Back to `drain` "
        "and `engine_asleep` when the ranks died: others start where no engine holds anything.",
        states=DevicePhase,
        initial=DevicePhase.ENGINE_ASLEEP,
        edges=_plain(DEVICE),
    )
    yield Machine(
        title="Weights of an engine",
        where="tetrad_rollout.engine.weight_state.TRANSITIONS",
        about="While a newer version is staged beside certified weights, those stay certified.",
        states=WeightState,
        initial=WeightState.EMPTY,
        edges=_eventful(weight_state.TRANSITIONS),
    )
    yield Machine(
        title="Episode",
        where="tetrad_reward.episodes.TRANSITIONS",
        about="One sample's environment on a reward replica. An episode that is closed, expires, or cannot be opened "
        "leaves the table from any state.",
        states=EpisodeState,
        initial=EpisodeState.OPENING,
        edges=_eventful(episodes.TRANSITIONS),
    )


def main() -> int:
    """Write the page, or return 1 if it would change."""
    return publish("state-machines.md", render(), maker="tools/make_state_reference.py")


def render() -> str:
    """The page."""
    return HEAD + "".join(_section(machine) for machine in machines())


def _plain(transitions: Mapping[StrEnum, frozenset[StrEnum]]) -> tuple[Edge, ...]:
    return tuple(
        (before, after, "") for before, afters in transitions.items() for after in _in_order(type(before), afters)
    )


def _eventful(transitions: Mapping[tuple[StrEnum, StrEnum], StrEnum]) -> tuple[Edge, ...]:
    """One edge for all events that lead from one state to another."""
    events: dict[tuple[StrEnum, StrEnum], list[str]] = {}
    for (before, event), after in transitions.items():
        events.setdefault((before, after), []).append(event.value)
    return tuple((before, after, ", ".join(names)) for (before, after), names in events.items())


def _in_order(states: type[StrEnum], chosen: frozenset[StrEnum]) -> list[StrEnum]:
    return [state for state in states if state in chosen]


def _section(machine: Machine) -> str:
    return "\n".join(
        [
            f"\n## {machine.title}\n",
            f"{sentence(machine.states)} Table: `{machine.where}`. {machine.about}\n",
            "```mermaid",
            "stateDiagram-v2",
            *_diagram(machine),
            "```\n",
            table(("state", "meaning", "may become"), _rows(machine)),
            "",
        ]
    )


def _diagram(machine: Machine) -> Iterator[str]:
    yield f"    [*] --> {machine.initial.value}"
    for before, after, event in machine.edges:
        yield f"    {before.value} --> {after.value}" + (f": {event}" if event else "")
    for state in _last(machine):
        yield f"    {state.value} --> [*]"


def _last(machine: Machine) -> list[StrEnum]:
    left = {before for before, _after, _event in machine.edges}
    return [state for state in machine.states if state not in left]


def _rows(machine: Machine) -> Iterator[tuple[str, str, str]]:
    sentences = sentences_of(machine.states)
    for state in machine.states:
        after = [_target(target, event) for before, target, event in machine.edges if before is state]
        yield f"`{state.value}`", sentences.get(state.name, ""), ", ".join(after) or "nothing: it is final"


def _target(state: StrEnum, event: str) -> str:
    return f"`{state.value}`" + (f" ({event})" if event else "")


if __name__ == "__main__":
    sys.exit(main())
