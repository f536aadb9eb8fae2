"""Which run a command such as `status` or `down` is about.

Owns the rule: the one that is named, else the only one that is up below `outputs/`.
"""

import argparse
from pathlib import Path
from typing import Final

from tetrad_cli.launch.claim import holder_of
from tetrad_runtime.exits import ConfigFault

OUTPUTS: Final = Path("outputs")


class NoRunError(ConfigFault):
    """There is no run to talk about."""


def add_run_choice(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser; read them with `chosen`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--run", metavar="NAME", help="run below outputs/; default: the one that is up")
    which.add_argument("--run-dir", type=Path, metavar="DIR", help="run directory, wherever it is")


def chosen(arguments: argparse.Namespace, *, is_live: bool = True) -> Path:
    """Return the run directory that is meant; with `is_live` it must have a launcher now.

    Raises NoRunError where none or several could be meant.
    """
    named = arguments.run_dir or (OUTPUTS / arguments.run if arguments.run is not None else None)
    if named is None:
        return _only_live() if is_live else _live_or_newest()
    run_dir = Path(named)
    if not run_dir.is_dir():
        raise NoRunError(f"there is no run directory {run_dir}")
    if is_live and holder_of(run_dir) is None:
        raise NoRunError(f"nothing is up in {run_dir}")
    return run_dir.resolve()


def live_runs(outputs: Path = OUTPUTS) -> list[Path]:
    """Return the run directories that have a launcher now, in order of name."""
    locks = sorted(outputs.glob("*/launcher.lock"))
    return [lock.parent.resolve() for lock in locks if holder_of(lock.parent) is not None]


def _only_live() -> Path:
    found = live_runs()
    if len(found) == 1:
        return found[0]
    if not found:
        raise NoRunError(f"no run is up below {OUTPUTS.resolve()}; start one with `tetrad up`")
    raise NoRunError(f"several runs are up: {', '.join(run.name for run in found)}; choose one with --run")


def _live_or_newest() -> Path:
    found = live_runs()
    if len(found) == 1:
        return found[0]
    folders = sorted(OUTPUTS.glob("*/logs"), key=lambda folder: folder.stat().st_mtime)
    if found or not folders:
        return _only_live()
    return folders[-1].parent.resolve()
