"""The `tetrad` command: finds the subcommand and hands it the rest of the line.

Parses first and imports late: `tetrad --help` loads no library of ours but this file and the catalog.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from tetrad_cli.catalog import UnknownCommandError, load, summaries

USAGE_ERROR: Final = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.command is None:
        _parser().print_help()
        return USAGE_ERROR
    try:
        command = load(arguments.command)
    except UnknownCommandError as error:
        print(f"tetrad: {error}", file=sys.stderr)
        return USAGE_ERROR
    try:
        return command(arguments.rest)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        sys.stderr.close()
        return 141


def _parser() -> argparse.ArgumentParser:
    names = summaries()
    width = max(map(len, names))
    listing = "\n".join(f"  {name:<{width}}  {summary}" for name, summary in names.items())
    parser = argparse.ArgumentParser(
        prog="tetrad",
        description="Reinforcement learning of language models with four services.",
        epilog=f"commands:\n{listing}\n\n`tetrad COMMAND --help` says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tetrad {version('tetrad-cli')}")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="one of the commands below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="…", help="its arguments")
    return parser


if __name__ == "__main__":
    sys.exit(main())
