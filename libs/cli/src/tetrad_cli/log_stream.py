"""Several log files as one stream of lines with a prefix.

Owns which logs are shown, and which of their lines. Files may appear, grow, and be cut by rotation meanwhile.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tetrad_cli.launch.logfiles import LAUNCHER, Logs, last_lines
from tetrad_cli.log_follower import LogFollower
from tetrad_cli.severity import Severity, severity_of

# The time that our own lines carry, as the first word or as a JSON field.
TIMESTAMP: Final = re.compile(r'^(?:\{.*?"timestamp": ?")?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?)')
ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")
# Of the end of each file; where only some lines are shown, more must be looked at.
TAIL_BYTES: Final = 64 << 10
FILTERED_TAIL_BYTES: Final = 4 << 20
MANY_LINES: Final = 1 << 20


class UnknownLogError(ValueError):
    """No process of that name has a log."""


@dataclass(slots=True)
class LogStream:
    """The lines of some processes of a run."""

    folder: Path
    names: Sequence[str] = ()
    """Roles or replicas; none means all."""
    level: Severity = Severity.DEBUG
    """Lines that are less grave are left out."""
    _followers: dict[str, LogFollower] = field(default_factory=dict)
    _levels: dict[str, Severity] = field(default_factory=dict)
    """How grave the newest line of each was that says so."""

    def last(self, lines: int) -> list[str]:
        """Return the last lines of each process in order of time; raises UnknownLogError for a wrong name."""
        logs = Logs(self.folder)
        self._check(logs.names())
        found: list[tuple[str, str, str]] = []
        for name in self._chosen():
            follower = self._followers[name] = LogFollower(logs, name)
            follower.skip_present()
            found += _dated(name, self._tail(name, lines))
        return self._prefixed((name, line) for _when, name, line in sorted(found, key=lambda row: row[0]))

    def added(self) -> list[str]:
        """Return the complete lines that were added since the last call, process by process."""
        return self._prefixed((name, line) for name in self._chosen() for line in self._new_lines(name))

    def _tail(self, name: str, lines: int) -> list[str]:
        """The last lines that are to be shown, from older parts too where the file has just been cut."""
        logs, shown = Logs(self.folder), list[str]()
        max_bytes = TAIL_BYTES if self.level is Severity.DEBUG else FILTERED_TAIL_BYTES
        for path in (logs.path(name), *logs.parts(name)):
            if len(shown) < lines:
                shown = self._passing(name, last_lines(path, MANY_LINES, max_bytes=max_bytes)) + shown
        return shown[-lines:] if lines else []

    def _new_lines(self, name: str) -> list[str]:
        follower = self._followers.setdefault(name, LogFollower(Logs(self.folder), name))
        return self._passing(name, follower.added())

    def _passing(self, name: str, lines: Iterable[str]) -> list[str]:
        return [line for line in lines if self._is_grave(name, line)]

    def _is_grave(self, name: str, line: str) -> bool:
        """Whether a line is grave enough; one that does not say, as in a traceback, is as the line before."""
        said = severity_of(ANSI.sub("", line))
        if said is not None:
            self._levels[name] = said
        return self._levels.get(name, Severity.INFO).rank >= self.level.rank

    def _chosen(self) -> list[str]:
        return [name for name in Logs(self.folder).names() if not self.names or self._is_meant(name)]

    def _is_meant(self, name: str) -> bool:
        return any(name == wanted or name.rpartition("-")[0] == wanted for wanted in self.names)

    def _check(self, present: Sequence[str]) -> None:
        for wanted in self.names:
            if not any(name == wanted or name.rpartition("-")[0] == wanted for name in present):
                raise UnknownLogError(
                    f"no log of {wanted!r} in {self.folder}; there are {', '.join(present) or 'none'}"
                )

    def _prefixed(self, lines: Iterable[tuple[str, str]]) -> list[str]:
        width = max((len(name) for name in self._chosen()), default=len(LAUNCHER))
        return [f"{name:<{width}} | {line}" for name, line in lines]


def _dated(name: str, lines: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return (time, name, line); a line without a time, as in a traceback, has that of the line before."""
    when, dated = "", []
    for line in lines:
        match = TIMESTAMP.match(ANSI.sub("", line))
        when = match[1].replace(" ", "T") if match else when
        dated.append((when, name, line))
    return dated
