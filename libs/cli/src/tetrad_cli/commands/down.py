"""`tetrad down`: drains a run and leaves nothing behind."""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tetrad_cli.run_choice import NoRunError, add_run_choice, chosen

# More than the graces of all stages together.
DEFAULT_DEADLINE_S: Final = 300.0
KILL_DEADLINE_S: Final = 30.0
POLL_S: Final = 0.1


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="tetrad down", description="Ask the services to drain, wait, and kill what is left at the deadline."
    )
    parser.add_argument(
        "--deadline", type=float, default=DEFAULT_DEADLINE_S, metavar="S", help="seconds before it kills; default 300"
    )
    add_run_choice(parser)
    arguments = parser.parse_args(argv)
    try:
        run_dir = chosen(arguments)
    except NoRunError as error:
        # What was asked for is the case already.
        print(error)
        return 0
    return stop(run_dir, deadline_s=arguments.deadline)


def stop(run_dir: Path, *, deadline_s: float) -> int:
    """Stop the run; return 0 when it drained, 75 when it had to be killed."""
    from tetrad_cli.launch.claim import holder_of
    from tetrad_cli.launch.control import ControlError, Request, ask
    from tetrad_runtime.exits import ExitCode

    launcher = holder_of(run_dir)
    print(f"draining {run_dir.name}")
    try:
        asyncio.run(ask(run_dir, Request(op="down"), deadline_s=min(10.0, deadline_s)))
    except ControlError as error:
        print(error, file=sys.stderr)
        _signal_launcher(run_dir, signal.SIGTERM)
    if _is_free_within(run_dir, deadline_s):
        if launcher is not None:
            # It has let go of everything, and ends within moments.
            _wait_for_the_dead([launcher.pid])
        print(f"{run_dir.name} is down")
        return 0
    _kill(run_dir)
    print(f"{run_dir.name} did not drain within {deadline_s:g} s and was killed", file=sys.stderr)
    return int(ExitCode.DRAIN_TIMEOUT)


def _kill(run_dir: Path) -> None:
    """Kill the launcher, then all that carries the run's mark, with the run directory in our own hands."""
    from tetrad_cli.launch.children import sweep
    from tetrad_cli.launch.claim import claim

    _signal_launcher(run_dir, signal.SIGKILL)
    _is_free_within(run_dir, KILL_DEADLINE_S)
    with claim(run_dir):
        killed = sweep(run_dir)
        _wait_for_the_dead(killed)
        _remove_remains(run_dir)


def _wait_for_the_dead(pids: Sequence[int]) -> None:
    from tetrad_cli.launch.proc import start_ticks

    end = time.monotonic() + KILL_DEADLINE_S
    while any(start_ticks(pid) is not None for pid in pids) and time.monotonic() < end:
        time.sleep(POLL_S)


def _remove_remains(run_dir: Path) -> None:
    """What a launcher that drains removes itself: its sockets, its lock files, and segments whose owners are dead."""
    from tetrad_cli.launch.claim import remove_free_lock
    from tetrad_cli.launch.control import SOCKET_NAME
    from tetrad_cli.launch.runtime_dir import path_for
    from tetrad_cli.launch.session import LEFT_LOCKS
    from tetrad_weights.sweeping import sweep

    (run_dir / SOCKET_NAME).unlink(missing_ok=True)
    shutil.rmtree(path_for(run_dir, os.environ), ignore_errors=True)
    for name in LEFT_LOCKS:
        remove_free_lock(run_dir / name)
    sweep()


def _signal_launcher(run_dir: Path, number: signal.Signals) -> None:
    from tetrad_cli.launch.claim import holder_of
    from tetrad_cli.launch.proc import kill, start_ticks

    holder = holder_of(run_dir)
    if holder is not None and start_ticks(holder.pid) == holder.ticks:
        kill(holder.pid, number)


def _is_free_within(run_dir: Path, deadline_s: float) -> bool:
    from tetrad_cli.launch.claim import holder_of

    end = time.monotonic() + deadline_s
    while holder_of(run_dir) is not None:
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True
