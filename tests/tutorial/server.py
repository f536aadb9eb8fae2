"""TensorBoard as the tutorial starts it: asked over HTTP what it has, then stopped."""

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.request import urlopen

URL: Final = re.compile(r"http://localhost:\d+")
DEADLINE_S: Final = 180.0
PERIOD_S: Final = 0.5


def ask_tensorboard(command: str, *, cwd: Path, variables: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
    """Start it, return the names of its scalars by run, stop it."""
    # To a file: a pipe that nobody empties would hold it up.
    with tempfile.TemporaryFile("w+") as said:
        server = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=cwd, env=variables, stdout=said, stderr=said)
        try:
            return _tags(server, Path(f"/proc/self/fd/{said.fileno()}"))
        finally:
            server.terminate()
            server.wait(30)


def _tags(server: "subprocess.Popen[bytes]", said: Path) -> Mapping[str, Sequence[str]]:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        text = said.read_text()
        assert server.poll() is None, text
        if (found := URL.search(text)) and (tags := _asked(found[0])):
            return tags
        time.sleep(PERIOD_S)
    raise AssertionError(f"TensorBoard shows no run after {DEADLINE_S:g} s: {said.read_text()}")


def _asked(url: str) -> Mapping[str, Sequence[str]]:
    """Return the scalars that are loaded so far."""
    with urlopen(f"{url}/data/plugin/scalars/tags", timeout=30) as answer:
        runs: Mapping[str, Mapping[str, object]] = json.load(answer)
    return {run: sorted(tags) for run, tags in runs.items()}
