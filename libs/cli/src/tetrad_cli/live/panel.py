"""Draws the progress of a run as a panel of the terminal.

Pure: progress goes in, a drawing comes out.
"""

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tetrad_cli.live.progress import GREEDY, SAMPLED, Progress
from tetrad_cli.live.sparkline import sparkline

CURVE_WIDTH: Final = 60
BAR_WIDTH: Final = 40
COLORS: Final = ("cyan", "green", "magenta", "yellow", "blue", "red")


def draw(progress: Progress, *, title: str) -> RenderableType:
    """Return the panel."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="bold", no_wrap=True)
    rows.add_column(no_wrap=True)
    rows.add_row("progress", _bar(progress))
    rows.add_row("reward", _curve(progress))
    rows.add_row("evaluated", _scores(progress.evaluations[GREEDY]))
    if progress.evaluations[SAMPLED]:
        rows.add_row("sampled", _scores(progress.evaluations[SAMPLED]))
    rows.add_row("speed", f"{progress.tokens_per_s:,.0f} tokens/s" if progress.tokens_per_s else "–")
    rows.add_row("time goes to", _shares(progress))
    return Panel(rows, title=f"tetrad · {title}", title_align="left", border_style="cyan", expand=False)


def clock(seconds: float) -> str:
    """Write a duration as minutes and seconds.

    >>> clock(95.4)
    '1:35'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _bar(progress: Progress) -> RenderableType:
    left = progress.remaining_s()
    times = clock(progress.elapsed_s) + (f", {clock(left)} left" if left is not None else "")
    if not progress.step:
        return Text("starting; the first step has not ended yet", style="dim")
    if progress.total_steps is None:
        return Text(f"step {progress.step}  {times}")
    line = Table.grid(padding=(0, 2))
    bar = ProgressBar(total=progress.total_steps, completed=progress.step, width=BAR_WIDTH)
    line.add_row(bar, f"step {progress.step}/{progress.total_steps}", times)
    return line


def _curve(progress: Progress) -> RenderableType:
    if not progress.rewards:
        return Text("–", style="dim")
    curve = Text(sparkline(progress.rewards, width=CURVE_WIDTH, low=min(0.0, *progress.rewards)), style="green")
    return curve.append(f"  {progress.rewards[-1]:.3f}", style="bold")


def _scores(scores: Sequence[tuple[int, float]]) -> RenderableType:
    shown = [f"{value:.3f} (step {step})" for step, value in scores[-4:]]
    return Text(" → ".join(shown) or "–")


def _shares(progress: Progress) -> RenderableType:
    shares = progress.shares()
    if not shares:
        return Text("–", style="dim")
    bar, legend = Text(), Text()
    for (name, share), color in zip(shares, COLORS, strict=False):
        bar.append("█" * round(share * BAR_WIDTH), style=color)
        legend.append(f"{name} {share:.0%}  ", style=color)
    return Group(bar, legend)
