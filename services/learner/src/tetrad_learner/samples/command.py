"""`tetrad samples`: write a run's samples as one HTML file. Parses first, imports late."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tetrad_runtime.exits import ExitCode

DESCRIPTION = """Writes one HTML file that shows samples of a run's journal: prompt and response token by token,
coloured by the probability that the policy gave each, with rewards, reasons for the end, and policy versions. The file
needs no network and no other file. Without --step, the newest steps are shown, as many as --limit allows.

Exit codes: 0 written; 65 a step's journal is damaged; 78 there is no such run or step."""
# Four steps of a small run; more is asked for.
LIMIT: Final = 512


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    arguments = _parser().parse_args(list(argv))
    from tetrad_config.errors import ConfigError
    from tetrad_learner.samples.selection import SelectionError
    from tetrad_trajectories.errors import CorruptJournalError

    try:
        return _write(Path(arguments.run), arguments)
    except (SelectionError, ConfigError) as error:
        print(f"tetrad: {error}", file=sys.stderr)
        return ExitCode.CONFIG
    except CorruptJournalError as error:
        print(f"tetrad: {error}", file=sys.stderr)
        return ExitCode.DATA


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tetrad samples", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run, or its name below outputs/")
    parser.add_argument("--step", type=int, action="append", metavar="N", help="training step; may be repeated")
    parser.add_argument(
        "--limit", type=_count, default=LIMIT, metavar="N", help="samples at most; default: %(default)s"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: samples.html in the run's folder")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} shows nothing; the least is 1")
    return number


def _write(run: Path, arguments: argparse.Namespace) -> int:
    from tetrad_config import load_resolved
    from tetrad_learner.samples.page import render
    from tetrad_learner.samples.selection import SelectionError, select
    from tetrad_learner.samples.token_texts import load_texts
    from tetrad_trajectories.atomic import written_atomically

    folder = run if run.is_dir() else Path("outputs", run)
    if not (folder / "journal").is_dir():
        raise SelectionError(f"{folder} holds no run: there is no journal in it")
    selection = select(folder / "journal", steps=arguments.step, limit=arguments.limit)
    texts = load_texts(load_resolved(folder / "config.yaml").trainer.policy.model.path)
    output = arguments.output or folder / "samples.html"
    output.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(output) as temporary:
        temporary.write_text(render(selection, texts, run=folder.resolve().name), encoding="utf-8")
    steps = "1 step" if len(selection.steps) == 1 else f"{len(selection.steps)} steps"
    print(f"{output}: {selection.num_samples} samples of {steps}")
    for line in (*selection.left_out, *([texts.notice] if texts.notice else [])):
        print(line)
    return ExitCode.OK
