"""How grave a log line is, as it says itself. Pure."""

import re
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """From what on a line is shown."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """0 for the least grave."""
        return list(Severity).index(self)


# Our two formats, and the words that foreign loggers begin a line with, perhaps behind a date.
_JSON: Final = re.compile(r'"level": ?"(\w+)"')
_CONSOLE: Final = re.compile(r"\[(debug|info|warning|error|critical)\s*\]")
_FOREIGN: Final = re.compile(r"\b(DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\b")
_NAMES: Final = {
    "critical": Severity.ERROR,
    "fatal": Severity.ERROR,
    "exception": Severity.ERROR,
    "warn": Severity.WARNING,
}
HEAD_CHARACTERS: Final = 300


def severity_of(line: str) -> Severity | None:
    """Return how grave a line is; None where it does not say, such as one of a traceback.

    >>> severity_of('2026-01-01T00:00:00Z [warning  ] long_wait')
    <Severity.WARNING: 'warning'>
    >>> severity_of('  File "x.py", line 3, in f') is None
    True
    """
    head = line[:HEAD_CHARACTERS]
    match = _JSON.search(line) if line.startswith("{") else _CONSOLE.search(head) or _FOREIGN.search(head)
    if match is None:
        return None
    word = match[1].lower()
    return _NAMES.get(word) or (Severity(word) if word in set(Severity) else None)
