"""Where the reward service in Node.js runs: its packages installed in a folder of the test's, or why it cannot."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "reward-service-node"
MIN_NODE = 18
# Set by `make test-node-reward`: there a missing Node.js is a failure, not a reason to skip.
REQUIRED = "REQUIRE_NODE"


def installed(folder: Path) -> Path:
    """Copy the example and install what it needs; skips the test, saying why, where that cannot be done."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        give_up("node and npm are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < MIN_NODE:
        give_up(f"node is {version}; {MIN_NODE} is needed")
    for name in ("service.mjs", "package.json"):
        shutil.copy2(EXAMPLE / name, folder / name)
    # No scripts: zeromq brings its compiled part for the common platforms.
    words = ("install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")
    try:
        done = subprocess.run([npm, *words], cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        give_up("npm install did not end within 180 s")
    if done.returncode:
        give_up(f"npm install failed: {done.stderr.strip()[-300:]}")
    return folder


def environment(*, coordinator: str, bind: str, **more: str) -> Mapping[str, str]:
    """What the service is told."""
    return {**os.environ, "TETRAD_COORDINATOR": coordinator, "TETRAD_BIND": bind, **more}


def give_up(reason: str) -> None:
    """Skip the test, or fail it where Node.js is required."""
    if os.environ.get(REQUIRED):
        pytest.fail(reason)
    pytest.skip(reason)
