"""Write `docs/reference/cli.md` from the parsers of the commands."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Final

from make_protocol_reference import table
from reference_page import publish

from tetrad_cli.catalog import BUILTINS, FROM_SERVICES, load, summaries
from tetrad_testing.command_parsers import parser_of, parsers_below

MATCHED_FIRST: Final[Mapping[str, tuple[str, ...]]] = {"reward": ("swap", "status")}
"""Commands that look at their first word themselves, and the words."""
HEAD: Final = """# Command line

<!-- Made by tools/make_cli_reference.py from the parsers; do not edit. -->

`tetrad COMMAND --help` prints the same. Options and overrides may be mixed. `OVERRIDE` is a word of the
[configuration](configuration.md): `a.b=c`, `+a.b=c`, `~a.b` or `+experiment=NAME`. What commands return:
[exit codes](exit-codes.md). The services themselves (`tetrad-learner`, `tetrad-rollout`, `tetrad-reward`,
`tetrad-broadcaster`) have the flags of their [settings](configuration.md#settings-of-service-processes), and `--help`,
`--check` and `--show-config`.
"""


def main() -> int:
    """Write the page, or return 1 if it would change."""
    return publish("cli.md", render(), maker="tools/make_cli_reference.py")


def render() -> str:
    """The page."""
    names = [name for name in summaries() if is_installed(name)]
    rows = ((f"[`tetrad {name}`](#tetrad-{name})", summaries()[name], origin(name)) for name in names)
    parts = [HEAD, table(("command", "what it does", "comes with"), rows), *(section(name) for name in names)]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def is_installed(name: str) -> bool:
    """Tell whether a command can be loaded; those of services that are to come cannot."""
    return "(pip install" not in summaries()[name]


def origin(name: str) -> str:
    """The distribution that has the command."""
    return "tetrad-cli" if name in BUILTINS else FROM_SERVICES[name].distribution


def parsers(name: str) -> Iterator[argparse.ArgumentParser]:
    """The parsers of a command, one for each of its actions."""
    for words in MATCHED_FIRST.get(name, ("",)):
        yield from parsers_below(parser_of(load(name), *words.split()))


def section(name: str) -> str:
    """One command with all its actions."""
    actions = list(parsers(name))
    if len(actions) == 1:
        return f"## tetrad {name}\n\n{described(actions[0])}"
    parts = (f"### {action.prog}\n\n{described(action)}" for action in actions)
    return f"## tetrad {name}\n\n{summaries()[name].capitalize()}.\n\n" + "\n".join(parts)


def described(parser: argparse.ArgumentParser) -> str:
    """What a command is for, how it is called, and each argument."""
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    arguments = [action for action in parser._actions if action.help != argparse.SUPPRESS and "-h" not in names(action)]
    rows = ((f"`{called(action)}`", default_of(action), help_of(action, parser)) for action in arguments)
    about = (parser.description or "").strip()
    listing = table(("argument", "default", "meaning"), rows) if arguments else "It takes no arguments."
    return "\n\n".join(part for part in (about, f"```text\n{usage}\n```", listing) if part) + "\n"


def names(action: argparse.Action) -> tuple[str, ...]:
    """The spellings of an option; none for a positional argument."""
    return tuple(action.option_strings)


def called(action: argparse.Action) -> str:
    """How an argument is written."""
    value = action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    )
    if isinstance(value, tuple):
        value = " ".join(value)
    if not action.option_strings:
        return str(value)
    spelled = ", ".join(action.option_strings)
    return spelled if action.nargs == 0 else f"{spelled} {value}{' …' if action.nargs in ('+', '*') else ''}"


def default_of(action: argparse.Action) -> str:
    """What holds where the argument is not given."""
    if action.required and action.nargs != "*":
        return "required"
    if not action.default or action.default == argparse.SUPPRESS:
        return ""
    return f"`{str(action.default).lower() if action.default is True else action.default}`"


def help_of(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """The sentence of an argument, in a cell of a table."""
    text = (action.help or "").replace("%(prog)s", parser.prog).replace("%(default)s", str(action.default))
    return text.replace("|", "\\|").replace("%%", "%")


if __name__ == "__main__":
    sys.exit(main())
