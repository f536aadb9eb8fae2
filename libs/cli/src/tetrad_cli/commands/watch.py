"""`tetrad watch`: `tetrad status`, again and again, until Ctrl-C or the end of the run."""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tetrad_cli.commands.status import ASK_DEADLINE_S, say_nothing_runs
from tetrad_cli.run_choice import NoRunError, add_run_choice, chosen

if TYPE_CHECKING:
    from tetrad_cli.observed import Observed

MIN_PERIOD_S: Final = 0.2


def main(argv: Sequence[str]) -> int:
    """Run the command; the exit code is 1 where nothing runs, and 0 once the run has ended or was watched enough."""
    parser = argparse.ArgumentParser(prog="tetrad watch", description="Show the processes of a run, live.")
    parser.add_argument("--period", type=float, default=1.0, metavar="S", help="seconds between two looks; default 1")
    parser.add_argument("--count", type=int, default=None, metavar="N", help="looks; default: until the run is over")
    parser.add_argument("--json", action="store_true", help="for programs: one line for each look")
    add_run_choice(parser)
    arguments = parser.parse_args(argv)
    if arguments.period < MIN_PERIOD_S or (arguments.count is not None and arguments.count < 1):
        parser.error(f"--period is at least {MIN_PERIOD_S:g} s, and --count at least 1")
    from tetrad_cli.launch.control import ControlError

    try:
        run_dir = chosen(arguments)
        return asyncio.run(_watch(run_dir, arguments))
    except (NoRunError, ControlError) as error:
        return say_nothing_runs(arguments, str(error))


async def _watch(run_dir: Path, arguments: argparse.Namespace) -> int:
    looks = _looks(run_dir, period_s=arguments.period, count=arguments.count)
    if arguments.json:
        async for observed in looks:
            print(json.dumps(asdict(observed)), flush=True)
    elif sys.stdout.isatty():
        await _draw_live(looks)
    else:
        from tetrad_cli.live.table import print_plain

        async for observed in looks:
            print_plain(observed)
    return 0


async def _looks(run_dir: Path, *, period_s: float, count: int | None) -> "AsyncIterator[Observed]":
    """Yield what is seen; ends with the run. Raises ControlError where the launcher is there and does not answer."""
    from tetrad_cli.absent import described
    from tetrad_cli.launch.claim import holder_of
    from tetrad_cli.launch.control import ControlError
    from tetrad_cli.observed import observe

    done = 0
    while count is None or done < count:
        try:
            observed = await observe(run_dir, deadline_s=ASK_DEADLINE_S)
        except ControlError:
            if holder_of(run_dir) is not None:
                raise
            print(described(run_dir), file=sys.stderr)
            return
        yield observed
        done += 1
        if count is None or done < count:
            await asyncio.sleep(period_s)


async def _draw_live(looks: "AsyncIterator[Observed]") -> None:
    from rich.live import Live

    from tetrad_cli.live.table import draw

    with Live(auto_refresh=False) as live:
        async for observed in looks:
            live.update(draw(observed), refresh=True)
