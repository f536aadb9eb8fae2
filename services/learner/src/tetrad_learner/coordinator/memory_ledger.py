"""What every process held before and after each phase of the device lease, in bytes.

Owns the newest figures of each process and the table of the run. Tells people; decides nothing.
"""

from dataclasses import dataclass, field
from typing import Final

from tetrad_learner.coordinator.core.device_phases import DevicePhase
from tetrad_telemetry.logs import get_logger
from tetrad_telemetry.metrics import Metrics, closed
from tetrad_wire.messages.membership import MemoryFigures, Role

log = get_logger(__name__)

GIB: Final = 1 << 30
ROLES: Final = (Role.TRAINER, Role.ROLLOUT)


@dataclass(slots=True)
class PhaseMemory:
    """One process in one phase: the last time, and the most ever."""

    before: int = 0
    after: int = 0
    most: int = 0


@dataclass(slots=True)
class _Known:
    role: Role
    figures: MemoryFigures


@dataclass(slots=True)
class _Began:
    """The phase that is on."""

    phase: DevicePhase
    at: float
    held: dict[str, int]


@dataclass(slots=True)
class PhaseRow:
    """What is known of one phase."""

    num: int = 0
    seconds: float = 0.0
    """In it, all times together."""
    processes: dict[str, PhaseMemory] = field(default_factory=dict)


class MemoryLedger:
    """Figures in, one log line and one row for each phase out."""

    def __init__(self, metrics: Metrics) -> None:
        self._known: dict[str, _Known] = {}
        self._problems: dict[str, str] = {}
        self._began: _Began | None = None
        self.rows: dict[DevicePhase, PhaseRow] = {}
        labels = {"role": closed(tuple(role.value for role in ROLES)), "phase": closed(tuple(DevicePhase))}
        self._held = metrics.gauges(
            "device_held_bytes", "Bytes that the processes of a role held when a phase ended.", labels=labels
        )
        self._bytes = metrics.gauges(
            "memory_bytes",
            "Bytes that the processes of a role report: of their GPUs, or of the host where they have none.",
            labels={"role": labels["role"], "kind": closed(("used", "reserved"))},
        )
        self._seconds = metrics.histograms(
            "device_phase_duration_seconds",
            "Seconds of a phase of the device lease.",
            labels={"phase": closed(tuple(DevicePhase))},
        )

    def note(self, role: Role, name: str, figures: MemoryFigures | None) -> None:
        """A process says what it holds."""
        if figures is not None:
            self._known[name] = _Known(role, figures)
            self._show(role)

    def note_problem(self, name: str, problem: str) -> None:
        """A process says why it cannot obey; it says so again and again, people hear it once."""
        if problem and problem != self._problems.get(name):
            log.warning("device_order_not_obeyed", name=name, problem=problem, held=self.holders())
        self._problems[name] = problem

    def forget(self, name: str) -> None:
        """A process is gone, and what it held with it."""
        gone = self._known.pop(name, None)
        if gone is not None:
            self._show(gone.role)

    def enter(self, phase: DevicePhase, now: float) -> None:
        """Another phase begins: note what the former leaves. The same again changes nothing."""
        began = self._began
        if began is not None and began.phase is phase:
            return
        held = {name: known.figures.used for name, known in sorted(self._known.items())}
        if began is not None:
            self._close(began, held, seconds=now - began.at)
        self._began = _Began(phase, now, held)

    def table(self) -> dict[str, dict[str, object]]:
        """The rows, for the summary: seconds, and bytes of each process before, after and at most."""
        return {
            phase.value: {
                "times": row.num,
                "seconds": round(row.seconds, 3),
                "bytes": {
                    name: {"before": memory.before, "after": memory.after, "most": memory.most}
                    for name, memory in row.processes.items()
                },
            }
            for phase, row in self.rows.items()
        }

    def holders(self) -> str:
        """Who holds how much now, for whoever looks for the memory that is missing."""
        held = (f"{name} {known.figures.used / GIB:.2f} GiB" for name, known in sorted(self._known.items()))
        return ", ".join(held) or "nobody has reported anything"

    def _show(self, role: Role) -> None:
        figures = [known.figures for known in self._known.values() if known.role is role]
        self._bytes.with_labels(role=role.value, kind="used").set(sum(one.used for one in figures))
        self._bytes.with_labels(role=role.value, kind="reserved").set(sum(one.reserved for one in figures))

    def _close(self, began: _Began, held: dict[str, int], *, seconds: float) -> None:
        row = self.rows.setdefault(began.phase, PhaseRow())
        row.num += 1
        row.seconds += seconds
        self._seconds.with_labels(phase=began.phase.value).observe(seconds)
        for name, after in held.items():
            memory = row.processes.setdefault(name, PhaseMemory())
            memory.before, memory.after = began.held.get(name, 0), after
            memory.most = max(memory.most, memory.before, memory.after)
        for role in ROLES:
            total = sum(known.figures.used for known in self._known.values() if known.role is role)
            self._held.with_labels(role=role.value, phase=began.phase.value).set(total)
        log.info(
            "device_phase_over",
            phase=began.phase.value,
            seconds=round(seconds, 3),
            bytes={name: (began.held.get(name, 0), after) for name, after in held.items()},
        )
