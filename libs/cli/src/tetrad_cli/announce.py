"""How the launcher speaks to whoever started it: on the terminal, or through a pipe from the background.

Owns the pipe's format, one JSON object a line: {"say": text}, then {"up": true} once.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO


def to_terminal(text: str) -> None:
    """Print a notice where it does not mix with results: to standard error, whatever that is at the moment."""
    print(text, file=sys.stderr, flush=True)


@dataclass(slots=True)
class Pipe:
    """The writing end, in the background launcher."""

    descriptor: int
    early: list[str] | None = field(default_factory=list)
    """Said before there was a log, while the terminal is the listener's too; None once there is one."""

    def say(self, text: str) -> None:
        """Hand a notice over while somebody listens; it is in the launcher's log in any case."""
        if self.early is None:
            to_terminal(text)
        else:
            self.early.append(text)
        self._send({"say": text})

    def logged(self) -> None:
        """Note that what is printed goes into the log from now on."""
        early, self.early = self.early or [], None
        for text in early:
            to_terminal(text)

    def up(self) -> None:
        """Say that the run is up; nobody listens after that."""
        self._send({"up": True})
        self.close()

    def close(self) -> None:
        """Hang up."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _send(self, fields: dict[str, object]) -> None:
        if self.descriptor < 0:
            return
        try:
            os.write(self.descriptor, json.dumps(fields).encode() + b"\n")
        except BrokenPipeError:  # whoever started us has left; the run goes on
            self.close()


def heard(lines: TextIO) -> Iterator[str | None]:
    """Yield each notice from the reading end, and None when the run is up; ends when the other side hangs up."""
    for line in lines:
        fields = json.loads(line)
        yield None if fields.get("up") else str(fields["say"])


def redirect_output(path: Path) -> None:
    """Send this process's outputs, C libraries' included, to the end of a file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)
