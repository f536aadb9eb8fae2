"""`tetrad dashboards`: where Prometheus and Grafana of a run are; starts them, or says how to get them."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tetrad_cli.run_choice import NoRunError, add_run_choice, chosen

if TYPE_CHECKING:
    from tetrad_cli.launch.control import InstanceStatus, Reply

# Longer than the first start of Grafana, which makes its database.
START_DEADLINE_S: Final = 120.0
ASK_DEADLINE_S: Final = 10.0


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="tetrad dashboards",
        description="Say where Prometheus and Grafana of a run are; start them for a run that is up without them.",
    )
    add_run_choice(parser)
    arguments = parser.parse_args(argv)
    from tetrad_cli.launch.control import ControlError

    try:
        return _look(chosen(arguments))
    except NoRunError as error:
        return _explain(arguments, error)
    except ControlError as error:
        print(f"tetrad dashboards: {error}", file=sys.stderr)
        return 1


def _look(run_dir: Path) -> int:
    from tetrad_cli.launch.control import Request, ask
    from tetrad_cli.monitoring.programs import find_programs
    from tetrad_cli.monitoring.roles import NAMES, PROMETHEUS, url

    programs = find_programs()
    reply = asyncio.run(ask(run_dir, Request(op="status"), deadline_s=ASK_DEADLINE_S))
    there = {one.name for one in reply.instances if one.name in NAMES and one.state == "up"}
    for name in NAMES:
        if name not in there and getattr(programs, name) is not None:
            reply = asyncio.run(_start(run_dir, name))
    for one in reply.instances:
        if one.name in NAMES:
            print(_row(one, url(one.port)))
    source = next((url(one.port) for one in reply.instances if one.name == PROMETHEUS), None)
    for notice in programs.missing(source=source):
        print(notice)
    return 0 if programs.prometheus is not None else 1


def _row(one: "InstanceStatus", address: str) -> str:
    return f"{one.name}: {address}" if one.state == "up" else f"{one.name}: {one.state} (last: {one.last_exit})"


async def _start(run_dir: Path, name: str) -> "Reply":
    """Have the launcher start it; one that was given up begins anew."""
    from tetrad_cli.launch.control import Request, ask

    await ask(run_dir, Request(op="scale", replicas={name: 0}), deadline_s=START_DEADLINE_S)
    return await ask(run_dir, Request(op="scale", replicas={name: 1}), deadline_s=START_DEADLINE_S)


def _explain(arguments: argparse.Namespace, error: NoRunError) -> int:
    """No run is up: say how to look at one that is over."""
    from tetrad_cli.monitoring.programs import find_programs
    from tetrad_cli.monitoring.roles import CONFIG, PROMETHEUS

    print(error)
    try:
        folder = chosen(arguments, is_live=False) / PROMETHEUS
    except NoRunError:
        folder = None
    if folder is not None and (folder / "data").is_dir():
        print(f"what Prometheus kept of an earlier run: {_again(folder, folder / CONFIG)}")
    for notice in find_programs().missing():
        print(notice)
    return 1


def _again(folder: Path, config: Path) -> str:
    return (
        f"prometheus --config.file={config} --storage.tsdb.path={folder / 'data'} --web.listen-address=127.0.0.1:9090"
    )
