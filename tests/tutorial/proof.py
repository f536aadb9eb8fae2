"""Promises that a test of their own shows: it is run, and its name is the evidence."""

import subprocess
import sys
from typing import Final

from tutorial.workshop import ROOT

DEADLINE_S: Final = 600.0


def shown_by(node: str) -> str:
    """Run one test by its id; raises AssertionError with its last words unless it passes."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", node]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-500:]
    assert "1 passed" in done.stdout, done.stdout[-500:]
    return f"{node.rpartition('::')[2]} passes"
