"""`tetrad explain`: what a key of the run file does, or what an error means and what to change."""

import argparse
import os
import sys
from collections.abc import Sequence

from tetrad_cli.run_options import RunOptions, add_run_options, parse_run_options


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="tetrad explain",
        description="Say what a key does: unit, default, limits, who reads it, its names in SkyRL, verl and TRL. "
        "With a run file or overrides also its value there, and who set it. The name of a trouble says what it means.",
    )
    parser.add_argument(
        "word", metavar="KEY", help="key, section, alias, another system's name of a key, or name of a trouble"
    )
    add_run_options(parser)
    options, arguments = parse_run_options(parser, argv)
    from tetrad_cli.reported import reported

    return reported(lambda: _explain(arguments.word, options))


def _explain(word: str, options: RunOptions) -> int:
    from tetrad_cli.troubles.catalog import TROUBLES
    from tetrad_config import load
    from tetrad_config.key_about import about, meant_by

    if word in TROUBLES:
        print("\n".join(TROUBLES[word].lines()))
        return 0
    meant = meant_by(word)
    if not meant.keys:
        return _unknown(word)
    if meant.because:
        print(meant.because)
    if len(meant.keys) > 1:
        print("\n".join(_listed(meant.keys)))
        return 0
    loaded = None
    if not options.is_empty:
        loaded = load(
            options.overrides, config_path=options.config_path, config_name=options.config_name, environ=os.environ
        )
    print("\n".join(about(meant.keys[0], loaded)))
    return 0


def _listed(keys: Sequence[str]) -> list[str]:
    from tetrad_config.schema import fields

    known = {str(key): field for key, field in fields().items()}
    width = max(map(len, keys))
    return [f"{key:<{width}}  {' '.join((known[key].description or '').split())}" for key in keys]


def _unknown(word: str) -> int:
    from difflib import get_close_matches

    from tetrad_cli.troubles.catalog import TROUBLES
    from tetrad_config.key_about import near, why_not_here
    from tetrad_runtime.exits import ExitCode

    reason = why_not_here(word)
    found = [*near(word), *get_close_matches(word, TROUBLES, n=2, cutoff=0.5)]
    what = f"Tetrad lacks the key {word}: {reason}" if reason else f"there is no key {word}, and no such trouble"
    print(f"tetrad: {what}" + (f"; near it: {', '.join(found)}" if found else ""), file=sys.stderr)
    return int(ExitCode.CONFIG)
