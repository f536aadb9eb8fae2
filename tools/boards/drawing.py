"""Draws a board from what Prometheus answered, laid out on Grafana's grid, as one picture.

Owns the look; asks nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from boards.asking import Line
from boards.files import Shown

GRID_COLUMNS: Final = 24
COLUMN_IN: Final = 0.72
LINE_IN: Final = 0.30
MARGIN_IN: Final = 0.08
TITLE_IN: Final = 0.26
DOTS_PER_IN: Final = 80
MAX_LEGENDS: Final = 9
STEPS: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True, slots=True)
class Drawn:
    """A panel with its answers."""

    panel: Shown
    lines: Sequence[tuple[str, Line]]
    """Legend and series."""
    why_empty: str = ""


def draw(board: Mapping[str, Any], panels: Sequence[Drawn], path: Path) -> None:
    """Write the picture of a board."""
    bottom = max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in board["panels"])
    height_in = bottom * LINE_IN + 0.5
    figure = pyplot.figure(figsize=(GRID_COLUMNS * COLUMN_IN, height_in), dpi=DOTS_PER_IN, facecolor="#f4f5f5")
    figure.text(0.006, 1 - 0.3 / height_in, board["title"], fontsize=14, weight="bold", va="center")
    for row in (one for one in board["panels"] if one["type"] == "row"):
        y = 1 - (0.5 + (row["gridPos"]["y"] + 0.55) * LINE_IN) / height_in
        figure.text(0.006, y, f"▾ {row['title']}", fontsize=10, weight="bold", va="center", color="#333333")
    begin = min((line.times[0] for one in panels for _, line in one.lines), default=0.0)
    end = max((line.times[-1] for one in panels for _, line in one.lines), default=1.0)
    for one in panels:
        _draw_panel(figure, one, height_in=height_in, span=(begin, end))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DOTS_PER_IN, facecolor=figure.get_facecolor(), metadata={"Software": None})
    pyplot.close(figure)


def _draw_panel(figure: Figure, one: Drawn, *, height_in: float, span: tuple[float, float]) -> None:
    x, y, width, height = one.panel.place
    width_in, panel_in = width * COLUMN_IN - 2 * MARGIN_IN, height * LINE_IN - 2 * MARGIN_IN
    left, top = x * COLUMN_IN + MARGIN_IN, 0.5 + y * LINE_IN + MARGIN_IN
    total_in = GRID_COLUMNS * COLUMN_IN
    card = figure.add_axes(
        (left / total_in, 1 - (top + panel_in) / height_in, width_in / total_in, panel_in / height_in),
        facecolor="white",
    )
    card.set(xticks=[], yticks=[])
    for spine in card.spines.values():
        spine.set_color("#d8d9da")
    card.text(0.08 / width_in, 1 - 0.15 / panel_in, one.panel.title, fontsize=8.5, weight="bold", va="center")
    inner = figure.add_axes(
        (
            (left + 0.55) / total_in,
            1 - (top + panel_in - 0.22) / height_in,
            (width_in - 0.65) / total_in,
            (panel_in - TITLE_IN - 0.28) / height_in,
        )
    )
    if not one.lines:
        inner.axis("off")
        card.text(
            0.5, 0.45, f"no data\n{one.why_empty}", ha="center", va="center", fontsize=7, color="#888888", wrap=True
        )
    elif one.panel.raw["type"] == "stat":
        inner.axis("off")
        _draw_stat(card, one)
    else:
        _draw_graph(inner, one, span=span)


def _draw_stat(card: Axes, one: Drawn) -> None:
    unit = _unit(one)
    newest = [(name, line.values[-1]) for name, line in one.lines]
    text = "   ".join(f"{shown(value, unit)} {name}" for name, value in newest)
    card.text(0.5, 0.36, text, ha="center", va="center", fontsize=15 if len(newest) == 1 else 12, color="#1f60c4")


def _draw_graph(axes: Axes, one: Drawn, *, span: tuple[float, float]) -> None:
    begin, end = span
    unit = _unit(one)
    names = [name for name, _ in one.lines]
    if _is_stacked(one):
        times = sorted({at for _, line in one.lines for at in line.times})
        known = [dict(zip(line.times, line.values, strict=True)) for _, line in one.lines]
        heights = [[values.get(at, 0.0) for at in times] for values in known]
        axes.stackplot([at - begin for at in times], heights, labels=names, alpha=0.7, linewidth=0)
    else:
        for name, line in one.lines:
            axes.plot([at - begin for at in line.times], line.values, label=name, linewidth=1.2)
    axes.set_xlim(0, end - begin)
    if not any(value for _, line in one.lines for value in line.values):
        axes.set_ylim(-0.05, 1)
    axes.tick_params(labelsize=6, length=2)
    axes.grid(color="#eeeeee", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _at: shown(value, unit)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _at: f"{seconds:.0f} s"))
    for spine in ("top", "right"):
        axes.spines[spine].set_visible(False)
    handles = _told(one, axes)
    if len(handles) <= MAX_LEGENDS:
        axes.legend(handles=handles, fontsize=5.5, loc="best", frameon=False, ncols=1 + len(handles) // 5)


def _told(one: Drawn, axes: Axes) -> list[Artist]:
    """What the legend names: every series; of many those alone that are not zero all the time."""
    handles, _ = axes.get_legend_handles_labels()
    if len(handles) <= MAX_LEGENDS:
        return list(handles)
    return [handle for handle, (_, line) in zip(handles, one.lines, strict=True) if any(line.values)]


def _is_stacked(one: Drawn) -> bool:
    custom = one.panel.raw["fieldConfig"]["defaults"].get("custom", {})
    return bool(custom.get("stacking", {}).get("mode") == "normal")


def _unit(one: Drawn) -> str:
    return str(one.panel.raw["fieldConfig"]["defaults"]["unit"])


def shown(value: float, unit: str) -> str:
    """A value as a person reads it.

    >>> shown(0.25, "percentunit"), shown(0.0042, "s"), shown(1_500_000, "bytes"), shown(12_000, "short")
    ('25%', '4.2 ms', '1.5 MB', '12 k')
    """
    match unit:
        case "percentunit":
            return f"{100 * value:.3g}%"
        case "s" if abs(value) < 1:
            return f"{1000 * value:.3g} ms"
        case "s":
            return f"{value:.3g} s"
        case "bytes":
            return f"{_scaled(value)}B"
        case "Bps":
            return f"{_scaled(value)}B/s"
        case _:
            return _scaled(value).strip()


def _scaled(value: float) -> str:
    for step, letter in STEPS:
        if abs(value) >= step:
            return f"{value / step:.3g} {letter}"
    return f"{value:.3g} "
