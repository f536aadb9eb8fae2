"""`tetrad scale rollout=3`: changes the number of replicas while the run goes on."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Final

from tetrad_cli.run_choice import NoRunError, add_run_choice, chosen

# A new replica loads a model; an old one drains.
DEFAULT_DEADLINE_S: Final = 600.0
LEAVING: Final = frozenset({"stopping", "stopped"})


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="tetrad scale",
        description="Start or drain replicas, the highest number first; returns when that is done.",
    )
    parser.add_argument("replicas", nargs="+", type=role_count, metavar="ROLE=N", help="rollout=3 or reward=2")
    parser.add_argument("--deadline", type=float, default=DEFAULT_DEADLINE_S, metavar="S", help="default 600")
    add_run_choice(parser)
    arguments = parser.parse_args(argv)
    return _scale(arguments, dict(arguments.replicas))


def role_count(text: str) -> tuple[str, int]:
    """Read `rollout=3`, or `ROLLOUT=3` as make passes it.

    >>> role_count("ROLLOUT=3")
    ('rollout', 3)
    """
    role, _, number = text.partition("=")
    if not role or not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not ROLE=N, such as rollout=3")
    return role.lower(), int(number)


def _scale(arguments: argparse.Namespace, replicas: dict[str, int]) -> int:
    from tetrad_cli.launch.control import ControlError, Request, ask
    from tetrad_config.colocation import about_added
    from tetrad_config.resolved import load_resolved

    try:
        run_dir = chosen(arguments)
        request = Request(op="scale", replicas=replicas)
        reply = asyncio.run(ask(run_dir, request, deadline_s=arguments.deadline))
    except (NoRunError, ControlError) as error:
        print(f"tetrad scale: {error}", file=sys.stderr)
        return 1
    if reply.note:
        print(reply.note)
    for role in replicas:
        present = [one for one in reply.instances if one.role == role and one.state not in LEAVING]
        names = [one.name for one in present]
        told = [one.name if one.state == "up" else f"{one.name} {one.state}" for one in present]
        print(f"{role}: {len(names)} ({', '.join(told)})" if names else f"{role}: none yet")
        if role == "rollout" and (notice := about_added(load_resolved(run_dir / "config.yaml"), names)):
            print(notice)
    return 0
