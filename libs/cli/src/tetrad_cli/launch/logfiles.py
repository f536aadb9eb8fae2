"""One log file per instance, its rotation by size, and its last lines.

Owns the names under `logs/`. Children write to their file themselves, so their last words survive the launcher.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_LOG_BYTES: Final = 64 << 20
KEPT_LOGS: Final = 3
TAIL_BYTES: Final = 64 << 10
LAUNCHER: Final = "launcher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """When logs are shortened."""

    max_bytes: int = MAX_LOG_BYTES
    period_s: float = 10.0
    """Between two looks."""


@dataclass(frozen=True, slots=True)
class Logs:
    """The log folder of a run."""

    folder: Path
    max_bytes: int = MAX_LOG_BYTES

    def path(self, name: str) -> Path:
        """Return the log of an instance."""
        return self.folder / f"{name}.log"

    def names(self) -> list[str]:
        """Return the instances that have a log, in order."""
        return sorted(path.stem for path in self.folder.glob("*.log"))

    def tail(self, name: str, *, lines: int = 20) -> list[str]:
        """Return the last lines, oldest first; none when there is no log yet."""
        return last_lines(self.path(name), lines)

    def parts(self, name: str) -> list[Path]:
        """Return the older parts of a log that are kept, the newest first."""
        numbered = [self.folder / f"{name}.log.{number}" for number in range(1, KEPT_LOGS + 1)]
        return [path for path in numbered if path.exists()]

    def rotate(self) -> None:
        """Shorten each log that has outgrown its limit; older parts become `.log.1` and so on."""
        for name in self.names():
            if self.path(name).stat().st_size > self.max_bytes:
                _rotate(self.path(name))


def last_lines(path: Path, lines: int, *, max_bytes: int = TAIL_BYTES) -> list[str]:
    """Return the last lines of a file, at most 64 KiB of them unless told otherwise."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - max_bytes))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-lines:]


def _rotate(path: Path) -> None:
    """Copy, then cut: the writer keeps its descriptor, which appends wherever the end is.

    The file is copied until nothing is added any more; only what is written between the last look and the cut, a
    matter of microseconds, can be lost.
    """
    for number in range(KEPT_LOGS - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    # Given its name at the end: whoever follows the log sees a whole part, or none yet.
    new = path.with_name(f".{path.name}.new")
    with path.open("rb+") as source, new.open("wb") as copy:
        shutil.copyfileobj(source, copy)
        while rest := source.read():
            copy.write(rest)
        source.truncate(0)
    new.replace(path.with_name(f"{path.name}.1"))
