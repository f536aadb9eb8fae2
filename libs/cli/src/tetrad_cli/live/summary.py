"""The result of a run in one line, from summary.json. Pure."""

from collections.abc import Mapping


def one_line(summary: Mapping[str, object]) -> str:
    """Return what the summary says of accuracy, time and speed; what it does not say is left out.

    >>> one_line({"accuracy_before": 0.28, "accuracy_after": 0.912, "seconds": 98.31, "steps": 120})
    'accuracy 0.28 → 0.912 · 120 steps · 98.3 s'
    >>> one_line({"greedy_before": 0.28, "greedy_after": 0.28, "steps": 0})
    'greedy 0.28 · 0 steps'
    """
    parts = [
        _pair(summary, "accuracy"),
        _pair(summary, "greedy"),
        _with_unit(summary, "steps", "steps"),
        _with_unit(summary, "seconds", "s"),
        _with_unit(summary, "samples_per_second", "samples/s"),
    ]
    return " · ".join(part for part in parts if part)


def _pair(summary: Mapping[str, object], name: str) -> str:
    before, after = summary.get(f"{name}_before"), summary.get(f"{name}_after")
    if summary.get("steps") == 0:
        return f"{name} {after:.3g}" if _is_number(after) else ""
    return f"{name} {before:.3g} → {after:.3g}" if _is_number(before) and _is_number(after) else ""


def _with_unit(summary: Mapping[str, object], name: str, unit: str) -> str:
    value = summary.get(name)
    return f"{value:.3g} {unit}" if _is_number(value) else ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
