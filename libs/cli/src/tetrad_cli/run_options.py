"""The arguments that say which run: those of `train`, `up` and `plan`, as in the tutorial.

Owns the parser. What the words mean is tetrad_config's business.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

# `tetrad up` alone: something to look at, that goes on until it is stopped.
ENDLESS_DEMO: Final = (
    "+experiment=demo",
    "trainer.run_name=demo-endless",
    "trainer.epochs=1000",
    "trainer.max_steps=null",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Which run file, and what is changed in it."""

    config_path: str | None
    config_name: str | None
    overrides: tuple[str, ...]
    skip_step: int | None = None
    """Poisoned training step that the run goes on without."""
    listen: str | None = None
    """Endpoint at which other hosts reach the run; None where all of it is on this one."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said."""
        return not self.overrides and self.config_name is None

    def with_overrides(self, *words: str) -> "RunOptions":
        """Return these options with more overrides, which have the last word."""
        return replace(self, overrides=(*self.overrides, *words))

    def or_endless_demo(self) -> "RunOptions":
        """Return these options, or where nothing was said those of the demo without an end."""
        return replace(self, overrides=ENDLESS_DEMO) if self.is_empty else self


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser; read them with `parse_run_options`."""
    parser.add_argument("--config-path", "-cp", metavar="DIR", help="folder of the run file")
    parser.add_argument("--config-name", "-cn", metavar="NAME", help="run file, with or without .yaml")
    parser.add_argument(
        "--reward", metavar="FILE:FUNCTION", help="score with this function; short for reward.implementation="
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="a.b=c, +a.b=c, ~a.b, +experiment=NAME; in any number"
    )


def add_listen(parser: argparse.ArgumentParser) -> None:
    """Add the argument of commands whose run other hosts may join; `parse_run_options` reads it."""
    parser.add_argument(
        "--listen", metavar="tcp://ADDRESS:PORT", help="let other hosts join by `tetrad agent --join` at this address"
    )


def add_skip_step(parser: argparse.ArgumentParser) -> None:
    """Add the argument of commands that start a run; `parse_run_options` reads it."""
    parser.add_argument(
        "--skip-step", type=int, metavar="N", help="go on without training step N, which gave a non-finite loss"
    )


def add_monitoring(parser: argparse.ArgumentParser, *, default: bool) -> None:
    """Add the switch of commands that start a run; read it as `monitoring`."""
    parser.add_argument(
        "--monitoring",
        action=argparse.BooleanOptionalAction,
        default=default,
        help=f"Prometheus and Grafana beside the run, where they are installed; default: {'on' if default else 'off'}",
    )


def parse_run_options(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[RunOptions, argparse.Namespace]:
    """Parse a command line in which options and overrides may be mixed."""
    arguments = parser.parse_intermixed_args(list(argv))
    overrides = list(arguments.overrides)
    if arguments.reward is not None:
        overrides.append(f"reward.implementation={arguments.reward}")
    options = RunOptions(
        config_path=arguments.config_path,
        config_name=arguments.config_name,
        overrides=tuple(overrides),
        skip_step=getattr(arguments, "skip_step", None),
        listen=getattr(arguments, "listen", None),
    )
    return options, arguments
