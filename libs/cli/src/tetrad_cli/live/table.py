"""Draws what runs: one row for each process, below it the replicas of each role and what the learner waits for."""

import sys
from dataclasses import dataclass
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from tetrad_cli.observed import Observed, Row

COLUMNS: Final = (
    "process",
    "pid",
    "port",
    "version",
    "state",
    "uptime",
    "restarts",
    "weights",
    "lag",
    "leases",
    "tokens/s",
    "ready",
)
NUMBERS: Final = frozenset({"pid", "port", "restarts", "weights", "lag", "leases", "tokens/s"})
# What an operator can do without where the terminal has not room for all.
LEFT_OUT_WHEN_NARROW: Final = frozenset({"pid", "version", "uptime"})
# With every column and its rules, and some words in the last one.
WIDE: Final = 140
NONE: Final = "–"
# Where there is no terminal to ask.
PLAIN_WIDTH: Final = 200


@dataclass(frozen=True, slots=True)
class Picture:
    """Drawn by rich for the width that there is: fewer columns and no rules where it is narrow."""

    observed: Observed

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table, what else there is to say of processes, the replicas, and the sentence."""
        is_wide = options.max_width >= WIDE
        yield _table(self.observed, is_wide=is_wide)
        if not is_wide:
            yield _below(self.observed)
        if self.observed.replicas:
            yield Text(_replicas(self.observed))
        yield Text(self.observed.waits.sentence)


def draw(observed: Observed) -> RenderableType:
    """Return the table, and below it how many replicas there are and what the learner waits for."""
    return Picture(observed)


def _table(observed: Observed, *, is_wide: bool) -> Table:
    table = Table(title=_title(observed), title_justify="left")
    if not is_wide:
        table.box, table.show_edge, table.padding = box.SIMPLE_HEAD, False, (0, 0)
    columns = [name for name in COLUMNS if is_wide or name not in LEFT_OUT_WHEN_NARROW]
    for name in columns:
        # Words may be broken into lines, names and numbers never.
        table.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=name != COLUMNS[-1])
    for row in observed.rows:
        cells = _cells(row)
        if is_wide:
            cells[COLUMNS[-1]] = ", ".join([row.ready, *_remarks(row)])
        table.add_row(*(cells[name] for name in columns))
    return table


def _below(observed: Observed) -> Table:
    """What a wide table has in its last column."""
    grid = Table.grid(padding=(0, 1))
    for row in observed.rows:
        for remark in _remarks(row):
            grid.add_row(row.instance.name, remark)
    return grid


def _remarks(row: Row) -> list[str]:
    """Return what a process waits for, and how its life before has ended."""
    waits = [f"waits for {row.waits_for}"] if row.waits_for else []
    return waits if row.instance.last_exit is None else [*waits, f"its last life: {row.instance.last_exit}"]


def print_plain(observed: Observed) -> None:
    """Print the table once; into a pipe or a file as wide as it is, so that no cell is broken."""
    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    console.print(draw(observed), soft_wrap=not sys.stdout.isatty())


def age(seconds: float) -> str:
    """Write a duration as hours, minutes and seconds.

    >>> age(3725.9)
    '1:02:05'
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _title(observed: Observed) -> str:
    waits = observed.waits
    parts = [f"{observed.run} ({observed.phase})", f"launcher pid {observed.pid}"]
    if waits.steps_executed is not None:
        parts.append(f"step {waits.steps_executed} of {waits.num_steps}")
    if observed.tokens_per_s is not None:
        parts.append(f"{observed.tokens_per_s:,.0f} tokens/s")
    return ", ".join(parts)


def _replicas(observed: Observed) -> str:
    return "up: " + ", ".join(f"{role} {one.up}/{one.wanted}" for role, one in observed.replicas.items())


def _cells(row: Row) -> dict[str, str]:
    one = row.instance
    return {
        "process": one.name,
        "pid": str(one.pid or NONE),
        "port": str(one.port),
        "version": row.release or NONE,
        "state": one.state,
        "uptime": age(one.uptime_s),
        "restarts": str(one.restarts),
        "weights": _number(row.weight_version),
        "lag": _number(row.lag_steps),
        "leases": _number(row.num_leases),
        "tokens/s": _number(row.tokens_per_s),
        "ready": row.ready,
    }


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"
