"""`tetrad why`: what the learner waits for, in one sentence."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tetrad_cli.run_choice import NoRunError, add_run_choice, chosen

ASK_DEADLINE_S: Final = 10.0


def main(argv: Sequence[str]) -> int:
    """Run the command; the exit code is 0 where somebody answered, and where the run is over."""
    parser = argparse.ArgumentParser(
        prog="tetrad why", description="Say what the learner waits for, since when, on whom, with the oldest lease."
    )
    parser.add_argument("--json", action="store_true", help="for programs, with all that the learner says")
    add_run_choice(parser)
    arguments = parser.parse_args(argv)
    try:
        run_dir = chosen(arguments, is_live=False)
    except NoRunError as error:
        print(f"tetrad why: {error}", file=sys.stderr)
        return 1
    return _of_the_living(run_dir, is_json=arguments.json) if _is_live(run_dir) else _of_the_dead(run_dir, arguments)


def _is_live(run_dir: Path) -> bool:
    from tetrad_cli.launch.claim import holder_of

    return holder_of(run_dir) is not None


def _of_the_living(run_dir: Path, *, is_json: bool) -> int:
    from tetrad_cli.launch.control import ControlError, Request, ask
    from tetrad_cli.waits import LEARNER, waits_of

    try:
        reply = asyncio.run(ask(run_dir, Request(op="status"), deadline_s=ASK_DEADLINE_S))
    except ControlError as error:
        print(f"tetrad why: {error}", file=sys.stderr)
        return 1
    learner = next((one for one in reply.instances if one.role == LEARNER), None)
    waits = asyncio.run(waits_of(learner))
    print(json.dumps({"sentence": waits.sentence, "on": waits.on, **waits.fields}) if is_json else waits.sentence)
    return 0


def _of_the_dead(run_dir: Path, arguments: argparse.Namespace) -> int:
    from tetrad_cli.absent import described

    sentence = f"The learner waits for nothing: {described(run_dir)}."
    print(json.dumps({"sentence": sentence, "on": "", "reason": "over"}) if arguments.json else sentence)
    return 0
