"""The scores of an evaluation: read from the run that made them, shown as a table. Pure but for the reading."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tetrad_cli.live.record import parse

if TYPE_CHECKING:
    from rich.table import Table

MODES: Final = ("eval", "eval_sampled")
MISSING: Final = "eval/num_missing"


def read_scores(path: Path) -> dict[str, float]:
    """Return the scores of the evaluation before training from a run's metrics; empty where there was none."""
    scores: dict[str, float] = {}
    if path.exists():
        records = [parse(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for record in records:
            if record is not None and record.step == 0:
                scores |= {name: value for name, value in record.metrics.items() if name.partition("/")[0] in MODES}
    return scores


def columns_of(scores: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return the scores by dataset, and within it by name.

    >>> columns_of({"eval/sums/pass_at_1": 0.5, "eval_sampled/all/pass_at_4": 0.75, "eval/num_missing": 1.0})
    {'sums': {'pass_at_1': 0.5}, 'all, sampled': {'pass_at_4': 0.75}}
    """
    columns: dict[str, dict[str, float]] = {}
    for name, value in scores.items():
        mode, _, rest = name.partition("/")
        dataset, slash, score = rest.rpartition("/")
        if slash:
            column = dataset if mode == MODES[0] else f"{dataset}, sampled"
            columns.setdefault(column, {})[score] = value
    return columns


def table_of(scores: Mapping[str, float], *, title: str) -> "Table":
    """Return a table: a column for each dataset, a row for each score."""
    from rich.table import Table

    columns = columns_of(scores)
    table = Table(title=title, title_justify="left")
    table.add_column("score")
    for column in columns:
        table.add_column(column, justify="right")
    for name in dict.fromkeys(name for column in columns.values() for name in column):
        table.add_row(name, *(f"{column[name]:.4f}" if name in column else "" for column in columns.values()))
    return table
