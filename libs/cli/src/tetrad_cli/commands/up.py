"""`tetrad up`: a run in the background. Returns when everything is up, or fails with what the launcher said."""

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Final, TextIO

from tetrad_cli.run_options import (
    RunOptions,
    add_listen,
    add_monitoring,
    add_run_options,
    add_skip_step,
    parse_run_options,
)

# Longer than all deadlines of the launcher together: this one only catches a launcher that hangs.
START_DEADLINE_S: Final = 3600.0
STOP_DEADLINE_S: Final = 180.0


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="tetrad up",
        description="Start all services in the background; without arguments the demo, until `tetrad down`.",
    )
    add_run_options(parser)
    add_skip_step(parser)
    add_listen(parser)
    add_monitoring(parser, default=True)
    options, arguments = parse_run_options(parser, argv)
    return start(options.or_endless_demo(), is_monitored=arguments.monitoring)


def start(options: RunOptions, *, is_monitored: bool = True) -> int:
    """Start a launcher in the background and wait until its run is up; return 0, or its exit code if it fails."""
    monitoring = "--monitoring" if is_monitored else "--no-monitoring"
    reading, writing = os.pipe()
    with os.fdopen(reading) as lines:
        process = subprocess.Popen(
            [sys.executable, "-m", "tetrad_cli", "train", monitoring, *_words(options, writing)],
            stdin=subprocess.DEVNULL,
            # A session of its own: it outlives this terminal.
            start_new_session=True,
            pass_fds=[writing],
        )
        os.close(writing)
        too_late = threading.Timer(START_DEADLINE_S, process.terminate)
        too_late.start()
        try:
            return _listen(lines, process)
        except KeyboardInterrupt:
            print("stopping what was started", file=sys.stderr)
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_DEADLINE_S)
            return 130
        finally:
            too_late.cancel()


def _listen(lines: TextIO, process: "subprocess.Popen[bytes]") -> int:
    from tetrad_cli.announce import heard

    for notice in heard(lines):
        if notice is None:
            process.returncode = 0  # it goes on without us; nobody here will wait for it
            print("the run is up: `tetrad status`, `tetrad logs -f`, `tetrad down`")
            return 0
        print(notice, file=sys.stderr)
    code = process.wait(STOP_DEADLINE_S)
    # A run may end, and well, before `up` has seen everything ready.
    print("the run did not come up" if code else "the run is over already", file=sys.stderr)
    return code


def _words(options: RunOptions, descriptor: int) -> list[str]:
    words = [f"--background-fd={descriptor}"]
    if options.config_path is not None:
        words.append(f"--config-path={options.config_path}")
    if options.config_name is not None:
        words.append(f"--config-name={options.config_name}")
    if options.skip_step is not None:
        words.append(f"--skip-step={options.skip_step}")
    if options.listen is not None:
        words.append(f"--listen={options.listen}")
    return [*words, *options.overrides]
