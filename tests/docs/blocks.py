"""Fenced blocks of a page, with what the comments above them say. Pure: runs nothing.

A block of commands or Python runs, unless a comment right above it says what else is done with it:

    <!-- needs: demo, my.py -->            what is there before it runs (provisions.py)
    <!-- with: NAME=value -->              a variable of the environment while it runs
    <!-- later: why -->                    by `make test-docs`, and not with every test
    <!-- not run: why -->                  by nothing here
    <!-- later "make up": why -->          so for lines that begin with these words
    <!-- not run "make up": why -->
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

COMMANDS: Final = frozenset({"bash", "sh"})
RUNNABLE: Final = COMMANDS | {"python"}
SHOWN: Final = frozenset({"text", "yaml", "json", "toml", "mermaid"})
"""Languages of blocks that are there to be read."""

FENCE: Final = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```[ \t]*$", re.MULTILINE | re.DOTALL)
COMMENT: Final = re.compile(r"<!--(.*?)-->\s*", re.DOTALL)
MARK: Final = re.compile(r'^(?P<verb>[a-z ]+?)(?: "(?P<lines>[^"]+)")?: (?P<rest>.+)$', re.DOTALL)


class Verb(StrEnum):
    """What a comment says about the block below it."""

    NEEDS = "needs"
    WITH = "with"
    LATER = "later"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Mark:
    """One comment."""

    verb: Verb
    text: str
    """What is needed, the variable, or the reason."""
    lines: str | None
    """The beginning of the lines that are meant; None for the whole block."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    """Of the fence, counted from 1."""
    language: str
    text: str
    marks: tuple[Mark, ...]
    strange: tuple[str, ...]
    """Comments above it that are none of these."""

    @property
    def name(self) -> str:
        """Where it is."""
        return f"{self.page.name}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that it shows, where its first line is `# NAME.EXTENSION`."""
        found = re.match(r"# (\w[\w.-]*\.(?:py|yaml|toml))\n", self.text)
        return found.group(1) if found else None

    def said(self, verb: Verb) -> list[str]:
        """What comments of a kind say about the whole block."""
        return [mark.text for mark in self.marks if mark.verb is verb and mark.lines is None]

    def runs(self, *, is_later: bool) -> bool:
        """Tell whether the block runs, with every test or with `is_later` by `make test-docs`."""
        without = {Verb.NOT_RUN} if is_later else {Verb.NOT_RUN, Verb.LATER}
        return self.language in RUNNABLE and not any(self.said(verb) for verb in without)

    def commands(self, *, is_later: bool = True) -> list[str]:
        """The lines that run; one that ends in a backslash goes on in the next."""
        without = {Verb.NOT_RUN} if is_later else {Verb.NOT_RUN, Verb.LATER}
        beginnings = tuple(mark.lines for mark in self.marks if mark.verb in without and mark.lines is not None)
        return [line for line in logical_lines(self.text) if not line.startswith(beginnings)]


def logical_lines(text: str) -> list[str]:
    r"""The lines of a script.

    >>> logical_lines("a \\\n  b\nc\n")
    ['a \\\n  b', 'c']
    """
    lines = re.split(r"(?<!\\)\n", text)
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block of a page."""
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        comments = list(_comments(text[: fence.start()]))
        marks = tuple(mark for comment in comments if (mark := _mark(comment)))
        strange = tuple(comment for comment in comments if _mark(comment) is None)
        found.append(Block(page, line, fence.group(2).strip(), _dedented(fence), marks, strange))
    return found


def _dedented(fence: re.Match[str]) -> str:
    indent = fence.group(1)
    return "".join(line.removeprefix(indent) for line in fence.group(3).splitlines(keepends=True))


def _comments(before: str) -> Iterator[str]:
    above = re.search(r"(?:<!--(?:(?!-->).)*-->\s*)+$", before, re.DOTALL)
    for comment in COMMENT.findall(above.group()) if above else ():
        yield " ".join(comment.split())


def _mark(comment: str) -> Mark | None:
    found = MARK.match(comment)
    is_known = found is not None and found["verb"] in list(Verb)
    return Mark(Verb(found["verb"]), found["rest"], found["lines"]) if found and is_known else None
