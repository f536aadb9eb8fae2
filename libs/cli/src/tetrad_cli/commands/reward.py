"""`tetrad reward swap` and `tetrad reward status`: the implementation that grades a run, while it goes on."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tetrad_cli.run_choice import NoRunError, add_run_choice, chosen

if TYPE_CHECKING:
    from tetrad_cli.reward_status import RewardStatus

USAGE: Final = """usage: tetrad reward swap|status …

  swap    put another implementation in the place of the present one
  status  show what grades the run

`tetrad reward swap --help` says more."""
USAGE_ERROR: Final = 2
READY_S: Final = 120.0
DRAIN_S: Final = 600.0
# For the launcher's own part, beyond the deadlines.
SLACK_S: Final = 60.0
STATUS_S: Final = 10.0


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    match list(argv):
        case ["swap", *rest]:
            return _swap(rest)
        case ["status", *rest]:
            return _status(rest)
        case _:
            print(USAGE, file=sys.stdout if argv[:1] in (["-h"], ["--help"]) else sys.stderr)
            return 0 if argv[:1] in (["-h"], ["--help"]) else USAGE_ERROR


def words_of(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return what the launcher is asked for: endpoints, or overrides."""
    from tetrad_cli.reward_swap import ENDPOINT

    words = [f"{ENDPOINT}{endpoint}" for endpoint in arguments.endpoint or ()]
    if arguments.reward is not None:
        words.append(f"reward.implementation={json.dumps(_absolute(arguments.reward))}")
    if arguments.env is not None:
        words.append(f"reward.implementation={json.dumps(arguments.env)}")
    return (*words, *arguments.overrides)


def _swap_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tetrad reward swap",
        description="New groups open on the new implementation once it is ready; groups already pinned finish on the "
        "old one, which then leaves. Without arguments the present one is started anew, for instance to read its file "
        "again. Returns when the old one has left.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--reward", metavar="FILE:FUNCTION", help="score with this function or environment class")
    which.add_argument("--env", metavar="NAME", help="score all rows with this environment, such as gsm8k")
    which.add_argument(
        "--endpoint",
        action="append",
        metavar="ENDPOINT",
        help="a replica that others keep and that registers itself, in edition 0; may be repeated",
    )
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="reward.num_replicas=2 and the like")
    parser.add_argument("--deadline", type=float, default=READY_S, metavar="S", help="until it is ready; default 120")
    parser.add_argument(
        "--drain-deadline",
        type=float,
        default=DRAIN_S,
        metavar="S",
        help="for the old one to finish its groups; it is stopped then; default 600",
    )
    add_run_choice(parser)
    return parser


def _swap(argv: Sequence[str]) -> int:
    arguments = _swap_parser().parse_intermixed_args(list(argv))
    from tetrad_cli.launch.control import ControlError, Request, ask
    from tetrad_cli.reward_swap import OPERATION

    deadlines = {"ready": arguments.deadline, "drain": arguments.drain_deadline}
    request = Request(op=OPERATION, words=words_of(arguments), deadlines_s=deadlines)
    # Each of the two waits for readiness has the whole deadline.
    limit_s = 2 * arguments.deadline + arguments.drain_deadline + SLACK_S
    try:
        run_dir = chosen(arguments)
        reply = asyncio.run(ask(run_dir, request, deadline_s=limit_s))
    except (NoRunError, ControlError) as error:
        print(f"tetrad reward swap: {error}", file=sys.stderr)
        return 1
    for line in reply.said:
        print(line)
    return 0


def _status(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tetrad reward status", description="Show what grades a run.")
    parser.add_argument("--json", action="store_true", help="for programs")
    add_run_choice(parser)
    arguments = parser.parse_args(list(argv))
    from tetrad_cli.launch.control import ControlError
    from tetrad_cli.reward_status import reward_status

    try:
        status = asyncio.run(reward_status(chosen(arguments), deadline_s=STATUS_S))
    except (NoRunError, ControlError) as error:
        print(f"tetrad reward status: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(status), indent=1) if arguments.json else _text(status))
    return 0


def _text(status: "RewardStatus") -> str:
    edition = "unknown" if status.current is None else str(status.current)
    lines = [f"edition {edition}: {status.implementation}"]
    if status.wanted is not None:
        lines.append(f"edition {status.wanted} is to take its place")
    lines += [f"  {name}: {state}" for name, state in status.replicas.items()]
    counts = ", ".join(f"{count} {standing.replace('_', ' ')}" for standing, count in status.registered.items())
    return "\n".join([*lines, f"registered with the coordinator: {counts or 'unknown'}"])


def _absolute(reference: str) -> str:
    """Name a file by its whole path: the launcher may have been started elsewhere."""
    place, colon, attribute = reference.rpartition(":")
    return f"{Path(place).resolve()}{colon}{attribute}" if place.endswith(".py") else reference
