"""The memory of a process and all its descendants, read from /proc while they run. Linux only."""

import contextlib
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
POLL_S: Final = 0.5
# Reading how pages are shared walks page tables: rarely enough not to be felt.
SHARED_POLL_S: Final = 2.0


@dataclass(slots=True)
class Peaks:
    """The largest values that were seen; thread-safe once the watcher has ended."""

    resident: dict[int, int] = field(default_factory=dict)
    """Process id → peak of its resident set in bytes, shared pages included."""
    command: dict[int, str] = field(default_factory=dict)
    """Process id → its command line."""
    proportional: int = 0
    """Peak over time of the sum over processes in bytes, where a page shared by n processes counts 1/n for each."""

    @property
    def total(self) -> int:
        """Sum of all peaks: an upper bound, shared pages count once for each process."""
        return sum(self.resident.values())

    def of(self, part: str) -> int:
        """Largest peak among the processes whose command line has `part`; 0 without one."""
        return max((peak for pid, peak in list(self.resident.items()) if part in self.command[pid]), default=0)


class Watcher:
    """Use as `with Watcher(pid) as watcher`; `watcher.peaks` is final after the block."""

    def __init__(self, pid: int) -> None:
        self._known = {pid}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-watcher", daemon=True)
        self.peaks = Peaks()

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        shared_at = 0.0
        while not self._over.wait(POLL_S):
            alive = self._descendants()
            for pid in alive:
                self._note(pid)
            if time.monotonic() - shared_at > SHARED_POLL_S:
                self.peaks.proportional = max(self.peaks.proportional, sum(map(proportional_bytes, alive)))
                shared_at = time.monotonic()

    def _descendants(self) -> list[int]:
        """Everything that ever had an ancestor of ours, whoever adopted it since."""
        parents = {int(entry.name): parent_of(int(entry.name)) for entry in PROC.iterdir() if entry.name.isdigit()}
        size = 0
        while size != len(self._known):
            size = len(self._known)
            self._known |= {pid for pid, parent in parents.items() if parent in self._known}
        return sorted(self._known & parents.keys())

    def _note(self, pid: int) -> None:
        peak = peak_bytes(pid)
        if peak:
            # The command first: a reader finds one for every process that has a peak.
            self.peaks.command[pid] = command_of(pid) or self.peaks.command.get(pid, "")
            self.peaks.resident[pid] = max(self.peaks.resident.get(pid, 0), peak)


def parent_of(pid: int) -> int:
    """Parent of a process; 0 when it is gone."""
    # The command's name, in parentheses, may hold spaces and parentheses itself.
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def command_of(pid: int) -> str:
    """Command line of a process; empty when it is gone."""
    return _read(pid, "cmdline").replace("\0", " ").strip()


def peak_bytes(pid: int) -> int:
    """Peak of the resident set so far; 0 when the process is gone."""
    return _kib(_read(pid, "status"), "VmHWM:") * 1024


def proportional_bytes(pid: int) -> int:
    """Resident memory now, shared pages divided among those who share them; 0 when the process is gone."""
    return _kib(_read(pid, "smaps_rollup"), "Pss:") * 1024


def _kib(text: str, label: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(label)), 0)


def _read(pid: int, name: str) -> str:
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / name).read_text(encoding="utf-8", errors="replace")
    return ""
