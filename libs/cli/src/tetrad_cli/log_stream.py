"""Several log files as one stream of lines with a prefix.

Owns how far each file was read. Files may appear, grow, and be cut by rotation meanwhile.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tetrad_cli.launch.logfiles import LAUNCHER, Logs

# The time that our own lines carry, as the first word or as a JSON field.
TIMESTAMP: Final = re.compile(r'^(?:\{.*?"timestamp": ?")?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?)')
ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")
# What is read of one file at once; the rest follows in the next round.
CHUNK_BYTES: Final = 1 << 20


class UnknownLogError(ValueError):
    """No process of that name has a log."""


@dataclass(slots=True)
class LogStream:
    """The lines of some processes of a run."""

    folder: Path
    names: Sequence[str] = ()
    """Roles or replicas; none means all."""
    _offsets: dict[str, int] = field(default_factory=dict)
    _partial: dict[str, bytes] = field(default_factory=dict)

    def last(self, lines: int) -> list[str]:
        """Return the last lines of each process in order of time; raises UnknownLogError for a wrong name."""
        logs = Logs(self.folder)
        self._check(logs.names())
        found: list[tuple[str, str, str]] = []
        for name in self._chosen():
            path = logs.path(name)
            self._offsets[name] = path.stat().st_size
            found += _dated(name, logs.tail(name, lines=lines))
        return self._prefixed((name, line) for _when, name, line in sorted(found, key=lambda row: row[0]))

    def added(self) -> list[str]:
        """Return the complete lines that were added since the last call, process by process."""
        return self._prefixed((name, line) for name in self._chosen() for line in self._new_lines(name))

    def _new_lines(self, name: str) -> list[str]:
        path = Logs(self.folder).path(name)
        offset = self._offsets.get(name, 0)
        # Shorter than before: rotation has cut it.
        offset = 0 if path.stat().st_size < offset else offset
        with path.open("rb") as file:
            file.seek(offset)
            read = file.read(CHUNK_BYTES)
        self._offsets[name] = offset + len(read)
        *complete, self._partial[name] = (self._partial.get(name, b"") + read).split(b"\n")
        return [line.decode(errors="replace") for line in complete]

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
