"""Starts one trainer rank under torchrun: parse, then import, then obey."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tetrad_config.errors import ConfigError
from tetrad_config.process import TrainerSettings
from tetrad_config.resolved import load_resolved
from tetrad_config.settings import describe_settings, load_settings
from tetrad_learner.rank.place import held_place
from tetrad_runtime.exits import ExitCode
from tetrad_runtime.orphans import follow_parent


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of a rank; torchrun sets RANK and WORLD_SIZE."""
    arguments, flags = _parser().parse_known_args(argv)
    # torchrun does not tie the ranks' lives to its own.
    follow_parent(signal.SIGKILL)
    try:
        settings = load_settings(TrainerSettings, flags, os.environ)
        config = load_resolved(settings.run_config_path)
    except ConfigError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return ExitCode.CONFIG
    with held_place(settings.run_dir):
        from tetrad_learner.rank.compose import Orders, run_rank

        orders = Orders(
            set_name=arguments.set,
            num_steps=arguments.num_steps,
            steps_per_epoch=arguments.steps_per_epoch,
            load=arguments.load,
            micro_batch_divisor=arguments.micro_batch_divisor,
        )
        return run_rank(settings, config, orders)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tetrad_learner.rank",
        description="One trainer rank; the coordinator starts all of them through torchrun.",
        epilog=f"settings, each by flag or variable:\n{describe_settings(TrainerSettings)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--set", required=True, help="name of the set of ranks that this one belongs to")
    parser.add_argument("--num-steps", type=int, required=True, help="training steps of the whole run")
    parser.add_argument("--steps-per-epoch", type=int, required=True, help="training steps of one pass over the data")
    parser.add_argument("--load", type=Path, help="checkpoint folder to continue from")
    parser.add_argument("--micro-batch-divisor", type=int, default=1, help="make micro-batches so many times smaller")
    return parser


if __name__ == "__main__":
    sys.exit(main())
