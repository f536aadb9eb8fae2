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


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="tetrad logs", description="Show the logs of a run, merged by time.")
    parser.add_argument("names", nargs="*", metavar="ROLE", help="roles or replicas: rollout, reward-0, launcher")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is added, until Ctrl-C")
    parser.add_argument("-n", "--lines", type=int, default=100, metavar="N", help="last lines of each; default 100")
    add_run_choice(parser)
    arguments = parser.parse_args(argv)
    from tetrad_cli.log_stream import LogStream, UnknownLogError

    try:
        stream = LogStream(chosen(arguments, is_live=False) / "logs", names=arguments.names)
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
