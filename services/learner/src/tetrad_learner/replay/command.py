"""`tetrad replay`: repeat a training step and compare it with what was recorded. Parses first, imports late."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tetrad_runtime.exits import ExitCode

DESCRIPTION = """Loads the newest checkpoint before step N (or the initial model), executes the steps up to N again from
the journal, on as many ranks as the run had, and compares loss, gradient norm and weights with what the run recorded.
On a CPU they are equal bit for bit. Nothing is written to the run's folder.

Exit codes: 0 equal, or the dump's numbers are not finite again; 1 different, or nothing to compare with; 65 the step
gave a number that is not finite; 78 it cannot be replayed."""
DIFFERENT = 1


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = _parser()
    arguments = parser.parse_args(list(argv))
    if arguments.dump is None and arguments.run is None:
        parser.error("name a run, or a dump with --dump")
    from tetrad_config.errors import ConfigError
    from tetrad_learner.rank.evidence import EvidenceError
    from tetrad_learner.replay.source import ReplayError
    from tetrad_trajectories.errors import CheckpointError, CorruptJournalError

    try:
        if arguments.dump is not None:
            return _replay_dump(Path(arguments.dump))
        return _replay_step(run_folder(arguments.run), arguments.step)
    except (ReplayError, EvidenceError, ConfigError, CheckpointError, CorruptJournalError) as error:
        print(f"tetrad: {error}", file=sys.stderr)
        return ExitCode.CONFIG


def run_folder(name: str) -> Path:
    """Return the folder of a run that is named by its folder or by its name below `outputs/`."""
    return Path(name) if Path(name).is_dir() else Path("outputs", name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tetrad replay", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="folder of a run, or its name below outputs/")
    parser.add_argument("--step", type=int, metavar="N", help="training step; without it, say which can be replayed")
    parser.add_argument("--dump", metavar="PATH", help="dump of a poisoned step, …/poisoned/step_N, to look into")
    return parser


def _replay_step(folder: Path, step: int | None) -> int:
    from tetrad_learner.replay.launch import launch
    from tetrad_learner.replay.report import compared, describe_failure
    from tetrad_learner.replay.source import Source, spans

    source = Source.of(folder)
    if step is None:
        print(f"steps of {source.name} that can be replayed: {spans(source.replayable)}")
        return ExitCode.OK
    job = source.job(step)
    print(job.summary)
    executed = launch(job)
    if executed.failure is not None:
        print(describe_failure(executed.failure))
        return ExitCode.DATA
    comparison = compared(executed, source.recorded(step), digest=source.digest_of(step))
    print(comparison.text)
    return ExitCode.OK if comparison.is_equal else DIFFERENT


def _replay_dump(dump: Path) -> int:
    from tetrad_learner.rank.evidence import read_evidence
    from tetrad_learner.replay.launch import launch
    from tetrad_learner.replay.report import describe_failure
    from tetrad_learner.replay.source import Source

    evidence = read_evidence(dump)
    print(f"step {evidence.step} was given up: {evidence.error}")
    print(f"not finite then: {', '.join(evidence.strange) or 'no weight and no gradient'}")
    job = Source.of(dump.resolve().parents[1]).job(evidence.step, dump=dump.resolve())
    print(job.summary)
    executed = launch(job)
    if executed.failure is None:
        print(f"all numbers are finite this time: loss {executed.metrics['loss']!r}")
        return DIFFERENT
    print(describe_failure(executed.failure))
    return ExitCode.OK
