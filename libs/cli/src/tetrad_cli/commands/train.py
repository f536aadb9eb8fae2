"""`tetrad train`: a run in the foreground; ends with the learner and returns its exit code.

With `--background-fd`, which `tetrad up` passes, the same in the background.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tetrad_cli.run_options import RunOptions, add_run_options, add_skip_step, parse_run_options

if TYPE_CHECKING:
    from tetrad_cli.prepared import Prepared

LAUNCHER_LOG: Final = "launcher.log"


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="tetrad train", description="Start all services, train, stop them; the exit code is the learner's."
    )
    parser.add_argument("--live", action="store_true", help="show progress, the reward curve and where the time goes")
    parser.add_argument("--check", action="store_true", help="check the run file and this machine, and start nothing")
    parser.add_argument("--show-config", action="store_true", help="print the resolved run file, and start nothing")
    parser.add_argument("--background-fd", type=int, help=argparse.SUPPRESS)
    add_run_options(parser)
    add_skip_step(parser)
    options, arguments = parse_run_options(parser, argv)
    if arguments.show_config:
        return _reported(lambda: _show(options))
    if arguments.check:
        return _reported(lambda: _check(options))
    if arguments.background_fd is not None:
        return _reported(lambda: _in_background(options, descriptor=arguments.background_fd))
    return _reported(lambda: _in_foreground(options, is_live=arguments.live))


def _reported(work: Callable[[], int]) -> int:
    """Do the work; an error that is not a bug is one message and its exit code."""
    from tetrad_config import ConfigError
    from tetrad_runtime.exits import Fault, exit_code_of

    try:
        return work()
    except (Fault, ConfigError) as error:
        print(f"tetrad: {error}", file=sys.stderr)
        return int(exit_code_of(error))


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
    print(f"ok: {prepared.run_dir.name} can run here")
    return 0


def _in_foreground(options: RunOptions, *, is_live: bool) -> int:
    from tetrad_cli.announce import to_terminal
    from tetrad_cli.live.view import LiveView
    from tetrad_cli.prepared import prepare

    prepared = prepare(options, environ=os.environ)
    _introduce(prepared, to_terminal)
    view = LiveView(prepared.run_dir, title=prepared.config.trainer.run_name, steps=prepared.config.trainer.max_steps)
    code = _launch(
        prepared=prepared,
        announce=to_terminal,
        on_up=lambda: None,
        beside=view.show if is_live else view.print_steps,
    )
    view.print_result()
    return code


def _in_background(options: RunOptions, *, descriptor: int) -> int:
    from tetrad_cli.announce import Pipe
    from tetrad_cli.prepared import prepare

    os.set_inheritable(descriptor, False)
    prepared = prepare(options, environ=os.environ)
    pipe = Pipe(descriptor)
    _introduce(prepared, pipe.say)
    return _launch(prepared=prepared, announce=pipe.say, on_up=pipe.up, beside=None, is_background=True)


def _introduce(prepared: "Prepared", announce: Callable[[str], None]) -> None:
    for notice in prepared.loaded.notices:
        announce(f"note: {notice}")
    announce(f"run {prepared.config.trainer.run_name}: logs in {prepared.run_dir}/logs")


def _launch(
    *,
    prepared: "Prepared",
    announce: Callable[[str], None],
    on_up: Callable[[], None],
    beside: Callable[[asyncio.Event], Awaitable[None]] | None,
    is_background: bool = False,
) -> int:
    from tetrad_cli.fleet import child_environment, fleet
    from tetrad_cli.fresh_start import begin
    from tetrad_cli.launch.session import Plan, launch

    def on_claimed() -> None:
        if (notice := begin(prepared.config, prepared.run_dir)) is not None:
            announce(f"note: {notice}")
        prepared.write_config()
        log_path = prepared.run_dir / "logs" / LAUNCHER_LOG
        log_path.parent.mkdir(exist_ok=True)
        _log_to(log_path, is_background=is_background)

    plan = Plan(
        run=prepared.config.trainer.run_name,
        run_dir=prepared.run_dir,
        roles=lambda runtime: fleet(
            prepared.config, run_dir=prepared.run_dir, runtime_dir=runtime, skip_step=prepared.skip_step
        ),
        env=child_environment(os.environ),
        announce=announce,
        on_claimed=on_claimed,
        on_up=on_up,
        beside=beside,
    )
    return launch(plan)


def _log_to(path: Path, *, is_background: bool) -> None:
    from tetrad_cli.announce import redirect_output
    from tetrad_telemetry import logs

    if is_background:
        redirect_output(path)
    # Line by line: the last lines before a crash are the ones that matter.
    logs.configure(service="launcher", stream=path.open("a", buffering=1))
