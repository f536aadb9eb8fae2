"""What a replay came to, in words: equal, or where it first differs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tetrad_learner.coordinator.metric_names import logged_names
from tetrad_learner.replay.job import Executed, Failure

TIMING: Final = "seconds_"
# Looked at first, and always shown.
LEADING: Final = ("loss", "grad_norm")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A replayed step beside the recorded one."""

    is_equal: bool
    text: str


def compared(executed: Executed, recorded: Mapping[str, float], *, digest: str) -> Comparison:
    """Compare bit for bit, loss and gradient norm first."""
    lines: list[str] = []
    different: list[str] = []
    num_equal = 0
    others = sorted(executed.metrics.keys() - set(LEADING))
    for name in (*LEADING, *others):
        found = _recorded(name, recorded)
        if name not in executed.metrics or name.startswith(TIMING) or found is None:
            continue
        here = executed.metrics[name]
        num_equal += here == found
        if here != found:
            different.append(f"{name}: recorded {found!r}, replayed {here!r}")
        elif name in LEADING:
            lines.append(f"{name} {here!r}: equal")
    if digest and executed.digest != digest:
        different.append(f"weights after the step: recorded {digest}, replayed {executed.digest}")
    elif digest:
        lines.append(f"weights after the step {digest}: equal")
    if not recorded and not digest:
        return Comparison(is_equal=False, text="nothing was recorded of this step to compare with")
    return _concluded(lines, different, num_equal=num_equal)


def _concluded(lines: list[str], different: list[str], *, num_equal: int) -> Comparison:
    if different:
        first = f"first difference: {different[0]}"
        more = [f"{len(different) - 1} more differ"] if len(different) > 1 else []
        return Comparison(is_equal=False, text="\n".join([*lines, first, *more]))
    return Comparison(is_equal=True, text="\n".join([*lines, f"equal: all {num_equal} recorded metrics, bit for bit"]))


def describe_failure(failure: Failure) -> str:
    """Say what was not finite, and where it began."""
    module = f"output of {failure.module}" if failure.module else "no module's output"
    others = f" and {len(failure.tensors) - 1} more" if len(failure.tensors) > 1 else ""
    tensors = f"{failure.tensors[0]}{others}" if failure.tensors else "no weight and no gradient"
    return "\n".join(
        (
            failure.error,
            f"loss {_number(failure.loss)}, gradient norm {_number(failure.gradient_norm)}",
            f"first module that is not finite: {module}",
            f"first tensor that is not finite: {tensors}",
        )
    )


def _recorded(name: str, recorded: Mapping[str, float]) -> float | None:
    return next((recorded[alias] for alias in logged_names(name) if alias in recorded), None)


def _number(value: float | None) -> str:
    return "unknown" if value is None else repr(value)
