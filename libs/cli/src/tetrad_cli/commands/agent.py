"""`tetrad agent`: lends this host to a run that was started on another one."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tetrad_cli.reported import reported

WAIT_S: Final = 600.0


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="tetrad agent",
        description="Join a run of another host: trainer ranks where the learner runs on several hosts, engines and "
        "rewards where asked for. Ends with the run.",
    )
    parser.add_argument("--join", metavar="ENDPOINT", required=True, help="what the run was started with: --listen")
    parser.add_argument("--name", default="host-1", help="of this host, unlike those of others; default host-1")
    parser.add_argument("--rollouts", type=_count, default=0, metavar="N", help="engines on this host; default 0")
    parser.add_argument("--rewards", type=_count, default=0, metavar="N", help="reward replicas; default 0")
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="for logs; default outputs/RUN-NAME, on this host")
    parser.add_argument(
        "--wait", type=float, default=WAIT_S, metavar="S", help="seconds to wait for the run to begin; default 600"
    )
    arguments = parser.parse_args(argv)
    return reported(lambda: _join(arguments))


def _join(arguments: argparse.Namespace) -> int:
    from tetrad_cli.announce import to_terminal
    from tetrad_cli.host_fleet import Joining
    from tetrad_cli.joining import ask_run, own_address, reachable
    from tetrad_cli.launching import launch_host

    endpoint = reachable(arguments.join, os.environ)
    to_terminal(f"asking {endpoint} what is run there")
    run = ask_run(endpoint, name=arguments.name, timeout_s=arguments.wait, environ=os.environ)
    joining = Joining(
        name=arguments.name,
        coordinator=endpoint,
        address=own_address(endpoint),
        rollouts=arguments.rollouts,
        rewards=arguments.rewards,
    )
    run_dir = (arguments.run_dir or Path("outputs") / f"{run.name}-{arguments.name}").resolve()
    to_terminal(f"{arguments.name} joins run {run.name}: logs in {run_dir}/logs")
    return launch_host(run, joining, run_dir=run_dir, announce=to_terminal)


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 256:
        raise argparse.ArgumentTypeError(f"{number}: 0 to 256 are possible")
    return number
