"""Our end of the guardian: tells it which processes live.

Owns the pipe and the guardian process. `guardian.py` is the other end.
"""

import subprocess
import sys
from pathlib import Path

from tetrad_telemetry.logs import get_logger

log = get_logger("tetrad_cli.launch")


class Watchman:
    """Keeps the guardian informed. Its loss is logged and survived: it is the second line, not the first."""

    def __init__(self, run_dir: Path, *, grace_s: float) -> None:
        # A session of its own: neither the terminal's signals nor our own group's end may reach it.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tetrad_cli.launch.guardian", str(run_dir), str(grace_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        # The launcher's one SIGCHLD handler collects it, like all children.
        self._process.returncode = 0

    @property
    def pid(self) -> int:
        """The guardian's process."""
        return self._process.pid

    def add(self, pid: int) -> None:
        """A group leader was started."""
        self._tell(f"+{pid}\n")

    def remove(self, pid: int) -> None:
        """A group is gone with all that belonged to it."""
        self._tell(f"-{pid}\n")

    def dismiss(self) -> None:
        """All is well: the guardian may go without killing anything."""
        self._tell("bye\n")
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _tell(self, line: str) -> None:
        if self._process.stdin is None or self._process.stdin.closed:
            return
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            log.warning("guardian_lost", pid=self.pid)
            self._process.stdin = None
