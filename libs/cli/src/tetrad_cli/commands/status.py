"""`tetrad status`: the processes of a run, what they say of themselves, and where to scrape them."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from tetrad_cli.run_choice import NoRunError, add_run_choice, chosen

if TYPE_CHECKING:
    from tetrad_cli.observed import Observed

ASK_DEADLINE_S: Final = 10.0


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="tetrad status", description="Show the processes of a run.")
    parser.add_argument("--json", action="store_true", help="for programs")
    add_run_choice(parser)
    arguments = parser.parse_args(argv)
    from tetrad_cli.launch.control import ControlError
    from tetrad_cli.observed import observe

    try:
        observed = asyncio.run(observe(chosen(arguments), deadline_s=ASK_DEADLINE_S))
    except (NoRunError, ControlError) as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(asdict(observed), indent=1))
    else:
        _print_table(observed)
    return 0


def _print_table(observed: "Observed") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{observed.run} ({observed.phase}), launcher pid {observed.pid}", title_justify="left")
    for column in ("process", "pid", "port", "state", "uptime", "restarts", "weights", "ready"):
        table.add_column(column, justify="right" if column in {"pid", "port", "restarts", "weights"} else "left")
    for row in observed.rows:
        one = row.instance
        state = one.state if one.last_exit is None else f"{one.state} (last: {one.last_exit})"
        weights = "–" if row.weight_version is None else str(row.weight_version)
        cells = (str(one.pid or "–"), str(one.port), state, _age(one.uptime_s), str(one.restarts), weights, row.ready)
        table.add_row(one.name, *cells)
    Console().print(table)


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
