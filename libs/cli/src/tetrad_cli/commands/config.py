"""`tetrad config show`: every key of a run with its value, and which source set it."""

import argparse
import os
import sys
from collections.abc import Sequence

from tetrad_cli.run_options import RunOptions, add_run_options, parse_run_options


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="tetrad config", description="Look at the run file as a run would read it.")
    parser.add_argument("action", choices=["show"], help="show: print every key with its final value, as YAML")
    parser.add_argument(
        "--origin",
        action="store_true",
        help="say who set each value: default, the key it follows, file, preset, variable or command line",
    )
    parser.add_argument("--changed", action="store_true", help="only keys that a source other than the defaults sets")
    parser.add_argument("--below", metavar="KEY", default="", help="only this key, or the keys of this section")
    add_run_options(parser)
    options, arguments = parse_run_options(parser, argv)
    from tetrad_cli.reported import reported

    return reported(lambda: _show(options, arguments))


def _show(options: RunOptions, arguments: argparse.Namespace) -> int:
    from tetrad_config import load
    from tetrad_config.resolved import shown_lines
    from tetrad_runtime.exits import ConfigFault

    loaded = load(
        options.overrides, config_path=options.config_path, config_name=options.config_name, environ=os.environ
    )
    lines = shown_lines(
        loaded.config,
        loaded.origins,
        below=arguments.below,
        with_origin=arguments.origin,
        only_changed=arguments.changed,
    )
    if not lines and not arguments.changed:
        raise ConfigFault(
            f"--below {arguments.below}: there is no such key; `tetrad explain {arguments.below}` looks for it"
        )
    print("\n".join(lines))
    for notice in loaded.notices:
        print(f"note: {notice}", file=sys.stderr)
    return 0
