"""Draws what runs: one row for each process, and below it what the learner waits for."""

import sys
from typing import Final

from rich.console import Console, Group, RenderableType
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
    "ready",
)
NUMBERS: Final = frozenset({"pid", "port", "restarts", "weights", "lag", "leases", "tokens/s"})
NONE: Final = "–"
# Where there is no terminal to ask.
PLAIN_WIDTH: Final = 200


def draw(observed: Observed) -> RenderableType:
    """Return the table and the sentence."""
    has_rates = bool(observed.rollout_tokens_per_s)
    columns = (*COLUMNS[:-1], *(("tokens/s",) if has_rates else ()), COLUMNS[-1])
    table = Table(title=_title(observed), title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column in NUMBERS else "left")
    for row in observed.rows:
        cells = _cells(row)
        if has_rates:
            cells.insert(-1, _number(observed.rollout_tokens_per_s.get(row.instance.name)))
        table.add_row(*cells)
    return Group(table, Text(observed.waits.sentence))


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


def _cells(row: Row) -> list[str]:
    one = row.instance
    state = one.state if one.last_exit is None else f"{one.state} (last: {one.last_exit})"
    return [
        one.name,
        str(one.pid or NONE),
        str(one.port),
        row.release or NONE,
        state,
        age(one.uptime_s),
        str(one.restarts),
        _number(row.weight_version),
        _number(row.lag_steps),
        _number(row.num_leases),
        row.ready,
    ]


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"
