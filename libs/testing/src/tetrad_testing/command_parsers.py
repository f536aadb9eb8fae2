"""The real parser of a command, taken from it at the moment that it would parse. Runs nothing else of the command."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from unittest.mock import patch


class NoParserError(LookupError):
    """The command returned without parsing anything."""


class _Caught(BaseException):
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def parser_of(main: Callable[[Sequence[str]], int], *argv: str) -> argparse.ArgumentParser:
    """Return the parser that `main(argv)` makes; `argv` are the words that a command matches before it makes one."""

    def caught(parser: argparse.ArgumentParser, *_words: object, **_options: object) -> None:
        raise _Caught(parser)

    with patch.object(argparse.ArgumentParser, "parse_known_args", caught):
        try:
            main(argv)
        except _Caught as found:
            return found.parser
    raise NoParserError(f"{main.__module__} parses nothing after {list(argv)}")


def parsers_below(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parsers of a command's actions, or the parser itself where it has none."""
    subparsers = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not subparsers:
        yield parser
    for action in subparsers:
        for below in action.choices.values():
            yield from parsers_below(below)


def has_actions(parser: argparse.ArgumentParser) -> bool:
    """Tell whether a command has actions of its own, such as `keys rotate`."""
    return any(isinstance(action, argparse._SubParsersAction) for action in parser._actions)
