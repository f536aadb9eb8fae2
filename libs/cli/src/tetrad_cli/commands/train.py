"""`tetrad train`: a run in the foreground; ends with the learner and returns its exit code.

With `--background-fd`, which `tetrad up` passes, the same in the background.
"""

import argparse
import os
from collections.abc import Sequence

from tetrad_cli.reported import reported
from tetrad_cli.run_options import (
    RunOptions,
    add_listen,
    add_monitoring,
    add_run_options,
    add_skip_step,
    parse_run_options,
)


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="tetrad train", description="Start all services, train, stop them; the exit code is the learner's."
    )
    parser.add_argument("--live", action="store_true", help="show progress, the reward curve and where the time goes")
    parser.add_argument("--check", action="store_true", help="check the run file and this machine, and start nothing")
    parser.add_argument("--show-config", action="store_true", help="print the resolved run file, and start nothing")
    parser.add_argument("--background-fd", type=int, help=argparse.SUPPRESS)
    add_monitoring(parser, default=False)
    add_run_options(parser)
    add_skip_step(parser)
    add_listen(parser)
    options, arguments = parse_run_options(parser, argv)
    if arguments.show_config:
        return reported(lambda: _show(options))
    if arguments.check:
        return reported(lambda: _check(options))
    if arguments.background_fd is not None:
        return reported(lambda: _in_background(options, arguments))
    return reported(lambda: _in_foreground(options, arguments))


def _show(options: RunOptions) -> int:
    from tetrad_config import dump_resolved, load

    loaded = load(
        options.overrides, config_path=options.config_path, config_name=options.config_name, environ=os.environ
    )
    print(dump_resolved(loaded.config, loaded.origins))
    return 0


def _check(options: RunOptions) -> int:
    from tetrad_cli.prepared import prepare

    prepared = prepare(options, environ=os.environ)
    for line in prepared.disk.lines():
        print(line)
    print(f"ok: {prepared.run_dir.name} can run here")
    return 0


def _in_foreground(options: RunOptions, arguments: argparse.Namespace) -> int:
    from tetrad_cli.announce import to_terminal
    from tetrad_cli.aside import prepared_to_launch
    from tetrad_cli.launching import introduce, launch_run
    from tetrad_cli.live.view import LiveView

    with prepared_to_launch(options, environ=os.environ) as prepared:
        introduce(prepared, to_terminal)
        trainer = prepared.config.trainer
        view = LiveView(prepared.run_dir, title=trainer.run_name, steps=trainer.max_steps)
        code = launch_run(
            prepared,
            announce=to_terminal,
            beside=view.show if arguments.live else view.print_steps,
            is_monitored=arguments.monitoring,
        )
        view.print_result()
    return code


def _in_background(options: RunOptions, arguments: argparse.Namespace) -> int:
    from tetrad_cli.announce import Pipe
    from tetrad_cli.aside import prepared_to_launch
    from tetrad_cli.launching import introduce, launch_run

    descriptor: int = arguments.background_fd
    os.set_inheritable(descriptor, False)
    with prepared_to_launch(options, environ=os.environ) as prepared:
        pipe = Pipe(descriptor)
        introduce(prepared, pipe.say)
        return launch_run(
            prepared,
            announce=pipe.say,
            on_up=pipe.up,
            on_logged=pipe.logged,
            is_background=True,
            is_monitored=arguments.monitoring,
        )
