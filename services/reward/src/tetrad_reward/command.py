"""`tetrad grade`: the command line around `grade_rows`. Parses first, imports late."""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import BinaryIO, Final

from tetrad_runtime.exits import ExitCode

READ_BYTES: Final = 1 << 16
DESCRIPTION: Final = """Reads JSON lines from standard input, each with `response` and `ground_truth`, and writes each
back with `reward`, `outcome`, `extracted` and `rule`. Other fields pass through and reach the grader as extras.
The same code grades as in the reward service."""


def command(argv: list[str]) -> int:
    """Grade rows of JSON from standard input.

    Returns 0 when every row was read (whatever its outcome), 65 for a bad row, 78 for a grader that cannot be had.
    """
    try:
        options = _parser().parse_args(argv)
    except SystemExit as answer:  # after --help, or what is wrong with a flag
        return ExitCode.CONFIG if answer.code else ExitCode.OK
    try:
        return asyncio.run(_grade(options))
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more may be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tetrad grade", description=DESCRIPTION)
    grader = parser.add_mutually_exclusive_group(required=True)
    grader.add_argument("--env", metavar="NAME", help="environment: gsm8k, arithmetic, …, or module:Class")
    grader.add_argument("--reward", metavar="FILE.py:FN", help="function of (response, ground_truth, **extras)")
    parser.add_argument("--mode", choices=["strict", "boxed", "flexible"], help="how gsm8k finds the answer")
    parser.add_argument("--workers", type=_positive, default=os.cpu_count() or 1, help="worker processes")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="for each grade")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value}; at least 1 is needed")
    return value


async def _grade(options: argparse.Namespace) -> int:
    from tetrad_reward.grade_rows import BadRowError, grade_rows
    from tetrad_reward.requests import Failed
    from tetrad_reward.supply import WorkerLimits
    from tetrad_reward.workers import Workers

    reference = options.env or options.reward
    config = {"mode": options.mode} if options.mode else {}
    if config and reference != "gsm8k":
        return _complain(f"--mode is for gsm8k; {reference} has none", ExitCode.CONFIG)
    async with Workers(num_workers=options.workers, limits=WorkerLimits(deadline_s=options.timeout)) as workers:
        loaded = await workers.load(reference, reference=reference, config=config)
        if isinstance(loaded, Failed):
            return _complain(loaded.reason, ExitCode.CONFIG)
        try:
            totals = await grade_rows(_lines(sys.stdin.buffer), workers, grader=reference, write=sys.stdout.write)
        except BadRowError as error:
            return _complain(str(error), ExitCode.DATA)
        finally:
            sys.stdout.flush()
    mean = "none" if totals.mean is None else f"{totals.mean:.4f}"
    sys.stderr.write(f"{totals.rows} rows, mean reward {mean}, {totals.failed} without a reward, {loaded.version}\n")
    return ExitCode.OK


async def _lines(stream: BinaryIO) -> AsyncIterator[bytes]:
    """Yield lines as they come: a file, a pipe or a terminal, without blocking the loop."""
    rest = b""
    # read1 returns what is there, so that a slow producer is graded line by line.
    while data := await asyncio.to_thread(stream.read1, READ_BYTES):  # type: ignore[attr-defined] # of BufferedReader
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest


def _complain(message: str, code: ExitCode) -> int:
    sys.stderr.write(f"tetrad grade: {message}\n")
    return code
