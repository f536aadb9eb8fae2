"""A curve in one line of text. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from typing import Final

BLOCKS: Final = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], *, width: int, low: float | None = None, high: float | None = None) -> str:
    """Draw values as blocks, oldest first; more values than `width` are averaged in groups.

    `low` and `high` fix the scale; otherwise the values' own range is used.

    >>> sparkline([0.0, 0.5, 1.0], width=10)
    '▁▅█'
    """
    shown = _thinned(values, width)
    if not shown:
        return ""
    bottom = min(shown) if low is None else low
    top = max(shown) if high is None else high
    return "".join(BLOCKS[_level(value, bottom, top)] for value in shown)


def _level(value: float, bottom: float, top: float) -> int:
    if top <= bottom:
        return 0
    share = min(max((value - bottom) / (top - bottom), 0.0), 1.0)
    return round(share * (len(BLOCKS) - 1) + 1e-9)


def _thinned(values: Sequence[float], width: int) -> list[float]:
    finite = [value for value in values if isfinite(value)]
    if len(finite) <= width:
        return finite
    edges = [index * len(finite) // width for index in range(width + 1)]
    groups = [finite[left:right] for left, right in pairwise(edges)]
    return [sum(group) / len(group) for group in groups]
