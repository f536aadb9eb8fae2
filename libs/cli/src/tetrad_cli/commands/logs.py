"""`tetrad logs`: the logs of a run's processes as one stream, each line with the name of its process."""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tetrad_cli.run_choice import NoRunError, add_run_choice, chosen

if TYPE_CHECKING:
    from tetrad_cli.log_stream import LogStream

POLL_S: Final = 0.2
LEVELS: Final = ("debug", "info", "warning", "error")


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="tetrad logs", description="Show the logs of a run, merged by time.")
    parser.add_argument("names", nargs="*", metavar="ROLE", help="roles or replicas: rollout, reward-0, launcher")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is added, until Ctrl-C")
    parser.add_argument("-n", "--lines", type=int, default=100, metavar="N", help="last lines of each; default 100")
    parser.add_argument(
        "--level",
        choices=LEVELS,
        default=LEVELS[0],
        help="the least grave lines to show; a traceback goes with its line",
    )
    add_run_choice(parser)
    arguments = parser.parse_args(argv)
    from tetrad_cli.log_stream import LogStream, UnknownLogError
    from tetrad_cli.severity import Severity

    try:
        folder = chosen(arguments, is_live=False) / "logs"
        stream = LogStream(folder, names=arguments.names, level=Severity(arguments.level))
        for line in stream.last(arguments.lines):
            print(line)
    except (NoRunError, UnknownLogError) as error:
        print(f"tetrad logs: {error}", file=sys.stderr)
        return 1
    if arguments.follow:
        _follow(stream)
    return 0


def _follow(stream: "LogStream") -> None:
    while True:
        for line in stream.added():
            print(line)
        sys.stdout.flush()
        time.sleep(POLL_S)
