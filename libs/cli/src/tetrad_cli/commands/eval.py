"""`tetrad eval`: the scores of a checkpoint or a model. Starts the real services, and changes no file of a run."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tetrad_cli.reported import reported
from tetrad_cli.run_options import RunOptions, add_run_options, parse_run_options

if TYPE_CHECKING:
    from tetrad_cli.evaluated import Subject, Wishes

DESCRIPTION = """Evaluates a checkpoint with the settings of the run that wrote it, or a model with those named here.
Rollouts, rewards and a learner run for real, in a temporary folder: no file of the run or of the checkpoint changes.

The scores go to standard output as one line of JSON, and to standard error as a table.

Exit codes: 0 there are scores; 65 too many samples are missing for any; 78 a checkpoint that is damaged, or settings
that cannot be; others are those of `tetrad train`."""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = _parser()
    options, arguments = parse_run_options(parser, argv)
    data, stray = _parted(arguments.data)
    options = options.with_overrides(*stray)
    return reported(lambda: _evaluate(options, arguments, data))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tetrad eval", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    subject = parser.add_mutually_exclusive_group(required=True)
    subject.add_argument("--checkpoint", type=Path, metavar="DIR", help="…/checkpoints/global_step_N, latest or best")
    subject.add_argument("--model", metavar="NAME", help="folder of a model, or its name on the Hugging Face Hub")
    parser.add_argument("--data", nargs="+", default=[], metavar="FILE", help="prompts, in place of data.val_data")
    parser.add_argument("--n", type=int, metavar="K", help="samples of each prompt; reports pass_at_k up to K")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the JSON to a file as well")
    parser.add_argument("--dump", type=Path, metavar="DIR", help="write every answer below this folder")
    add_run_options(parser)
    return parser


def _parted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell the files after --data from the overrides that follow them."""
    overrides = [word for word in words if "=" in word and not Path(word).exists()]
    return [word for word in words if word not in overrides], overrides


def _evaluate(options: RunOptions, arguments: argparse.Namespace, data: list[str]) -> int:
    from tetrad_cli import evaluated
    from tetrad_runtime.exits import ConfigFault

    if arguments.output is not None and not arguments.output.absolute().parent.is_dir():
        raise ConfigFault(f"--output {arguments.output}: there is no folder {arguments.output.absolute().parent}")
    is_checkpoint = arguments.checkpoint is not None
    subject = evaluated.checkpoint(arguments.checkpoint) if is_checkpoint else evaluated.model(arguments.model)
    wishes = evaluated.Wishes(data=data, num_samples=arguments.n, dump=arguments.dump)
    return _run(subject, wishes, options, output=arguments.output)


def _run(subject: "Subject", wishes: "Wishes", options: RunOptions, *, output: Path | None) -> int:
    from tempfile import TemporaryDirectory

    from tetrad_cli.announce import to_terminal
    from tetrad_cli.aside import PREFIX
    from tetrad_cli.evaluated import evaluation_of
    from tetrad_cli.launching import launch_run
    from tetrad_cli.prepared import prepare
    from tetrad_cli.scores import read_scores

    with TemporaryDirectory(prefix=PREFIX) as folder:
        prepared = prepare(evaluation_of(subject, wishes, options, folder=Path(folder)), environ=os.environ)
        for notice in prepared.loaded.notices:
            to_terminal(f"note: {notice}")
        code = launch_run(prepared, announce=to_terminal)
        scores = read_scores(prepared.run_dir / "metrics.jsonl")
    if code:
        return code
    config = prepared.config
    report = {
        "model": subject.model,
        "step": subject.step,
        "data": list(config.data.val_data),
        "num_samples_per_prompt": config.generator.eval_n_samples_per_prompt,
        "scores": scores,
    }
    return _report(report, scores, output=output)


def _report(report: Mapping[str, object], scores: Mapping[str, float], *, output: Path | None) -> int:
    from rich.console import Console

    from tetrad_cli.scores import MISSING, columns_of, table_of
    from tetrad_runtime.exits import DataFault
    from tetrad_trajectories.atomic import written_atomically

    if not columns_of(scores):
        raise DataFault(f"{scores.get(MISSING, 0):g} samples could not be evaluated, too many for a score")
    Console(file=sys.stderr).print(table_of(scores, title=str(report["model"])))
    print(json.dumps(report))
    if output is not None:
        with written_atomically(output.absolute()) as path:
            path.write_text(json.dumps(report, indent=1) + "\n")
    return 0
