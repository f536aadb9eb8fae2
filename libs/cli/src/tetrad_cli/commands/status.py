"""`tetrad status`: the processes of a run, what they say of themselves, and where to scrape them."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tetrad_cli.run_choice import NoRunError, add_run_choice, chosen

ASK_DEADLINE_S: Final = 10.0


def main(argv: Sequence[str]) -> int:
    """Run the command; the exit code is 1 where nothing runs."""
    parser = argparse.ArgumentParser(prog="tetrad status", description="Show the processes of a run.")
    parser.add_argument("--json", action="store_true", help="for programs")
    add_run_choice(parser)
    arguments = parser.parse_args(argv)
    from tetrad_cli.launch.control import ControlError
    from tetrad_cli.observed import observe

    try:
        observed = asyncio.run(observe(chosen(arguments), deadline_s=ASK_DEADLINE_S))
    except (NoRunError, ControlError) as error:
        return say_nothing_runs(arguments, str(error))
    if arguments.json:
        print(json.dumps(asdict(observed), indent=1))
        return 0
    from tetrad_cli.live.table import print_plain

    print_plain(observed)
    return 0


def say_nothing_runs(arguments: argparse.Namespace, reason: str) -> int:
    """Say so, and how the run that is meant has ended; return 1."""
    from tetrad_cli.absent import described

    said = reason
    run_dir = _meant(arguments)
    if run_dir is not None:
        said += f"\n{described(run_dir)}"
    if arguments.json:
        print(json.dumps({"run": run_dir.name if run_dir is not None else None, "phase": "down", "detail": said}))
    else:
        print(said, file=sys.stderr)
    return 1


def _meant(arguments: argparse.Namespace) -> Path | None:
    """The run that ended last, or the one that is named; None where one is alive, or there is none."""
    from tetrad_cli.launch.claim import holder_of

    try:
        run_dir = chosen(arguments, is_live=False)
    except NoRunError:
        return None
    return run_dir if holder_of(run_dir) is None else None
