"""The table that `make test-tutorial` prints."""

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tutorial.blocks import Block
from tutorial.treatment import TREATMENTS
from tutorial.verdict import Verdict
from tutorial.walk import Walk

WIDTH = 200


def promises_table(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts as text, and how many there are of each."""
    table = Table(title="The tutorial, promise by promise", title_justify="left", show_lines=True)
    for column in ("", "promise", "verdict", "evidence"):
        table.add_column(column, overflow="fold")
    for one in verdicts:
        table.add_row(*map(escape, (one.promise.name, one.promise.claim, one.outcome.value, one.evidence)))
    counts = Counter(one.outcome.value for one in verdicts)
    return f"{_text(table)}{', '.join(f'{number} {name}' for name, number in counts.items())}\n"


def blocks_table(walk: Walk) -> str:
    """Return what was done with each block, as text."""
    table = Table(title="The tutorial, block by block", title_justify="left")
    for column in ("", "line", "begins", "treatment", "result"):
        table.add_column(column, overflow="fold")
    for block in walk.blocks:
        treatment = TREATMENTS[block.number]
        how = treatment.kind.value + (f" ({treatment.note})" if treatment.note else "")
        cells = (str(block.number), str(block.line), block.first_line[:60], how, _result(block, walk))
        table.add_row(*map(escape, cells))
    return _text(table)


def _result(block: Block, walk: Walk) -> str:
    told: Sequence[Mapping[int, str]] = (walk.failed, walk.skipped)
    for prefix, reasons in zip(("FAIL: ", ""), told, strict=True):
        if block.number in reasons:
            return prefix + reasons[block.number]
    return "done"


def _text(table: Table) -> str:
    console = Console(width=WIDTH, no_color=True)
    with console.capture() as captured:
        console.print(table)
    return captured.get()
