"""Reads what is added to one log, over its rotations: every complete line once.

Rotation copies a log into a part with the number 1, then cuts it; older parts move on by one number. A part is known by
its inode: those that are newer than the newest part that we knew hold what we have not read.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tetrad_cli.launch.logfiles import Logs

# What is read at once; the rest follows in the next round.
CHUNK_BYTES: Final = 1 << 20
# Looks at a log that is shorter than what was read of it, without a part that explains it: then it was written anew.
PATIENCE: Final = 10


@dataclass(slots=True)
class LogFollower:
    """How far one log was read."""

    logs: Logs
    name: str
    offset: int = 0
    _newest_part: int | None = None
    """Inode of part 1 when we last looked; None without one."""
    _partial: bytes = b""
    _num_short: int = 0

    def skip_present(self) -> None:
        """Begin at the present end."""
        parts = self.logs.parts(self.name)
        self._newest_part = parts[0].stat().st_ino if parts else None
        self.offset = self._path.stat().st_size

    def added(self) -> list[str]:
        """Return the complete lines that were added since the last call, at most a chunk of them."""
        unread = self._unread_parts()
        if unread:
            # The oldest of them is what we were reading.
            self._partial += self._rest_of(unread)
        read = self._read(self._path) if self._is_in_place() else b""
        *complete, self._partial = (self._partial + read).split(b"\n")
        return [line.decode(errors="replace") for line in complete]

    @property
    def _path(self) -> Path:
        return self.logs.path(self.name)

    def _unread_parts(self) -> list[Path]:
        """Parts that rotation has made since the last look, the oldest first."""
        parts = self.logs.parts(self.name)
        inodes = [part.stat().st_ino for part in parts]
        known = inodes.index(self._newest_part) if self._newest_part in inodes else len(inodes)
        self._newest_part = inodes[0] if inodes else None
        return parts[:known][::-1]

    def _rest_of(self, parts: list[Path]) -> bytes:
        rest = b""
        for part in parts:
            with part.open("rb") as file:
                file.seek(self.offset)
                rest += file.read()
            self.offset = 0
        return rest

    def _is_in_place(self) -> bool:
        """Whether the offset is one of the present file: a log is cut a moment before its part has its name."""
        if self._path.stat().st_size >= self.offset:
            self._num_short = 0
            return True
        self._num_short += 1
        if self._num_short < PATIENCE:
            return False
        self.offset, self._num_short = 0, 0
        return True

    def _read(self, path: Path) -> bytes:
        with path.open("rb") as file:
            file.seek(self.offset)
            read = file.read(CHUNK_BYTES)
        self.offset += len(read)
        return read
