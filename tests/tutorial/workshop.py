"""Where a tutorial is worked through: a home of its own, a shell that remembers, a Hub that is a folder.

Little of the caller's environment reaches a block: see PASSED.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CLONED: Final = "https://github.com/NovaSky-AI/SkyRL"
DEADLINE_S: Final = 900.0
"""For a block: ten times what the longest one takes on two idle cores."""
# How uv reaches the registry that this environment came from, and where GPUs are.
PASSED: Final = ("PIP_", "UV_", "SSL_", "HTTPS_PROXY", "NO_PROXY", "CUDA_", "LD_")
# Commands leave the environment and the folder to the next block, as in one terminal.
REMEMBER: Final = 'set -a; source "{state}"; set +a\n{text}\ncode=$?\nexport -p > "{state}"; exit $code\n'


@dataclass(frozen=True, slots=True)
class Done:
    """A block that was run."""

    command: str
    """What was typed."""
    code: int
    out: str
    err: str

    def succeeded(self) -> "Done":
        """Return itself; raises AssertionError with its last words where it failed."""
        said = "\n".join([*self.out.splitlines()[-20:], *self.err.splitlines()[-40:]])
        assert self.code == 0, f"exit code {self.code} of\n{self.command}\n{said}"
        return self


class Workshop:
    """A terminal in a home of its own."""

    def __init__(self, folder: Path, *, hub: Path, variables: Mapping[str, str] | None = None) -> None:
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self._state = folder / "state"
        self._write_state(hub, variables or {})

    def run(self, text: str, *, deadline_s: float = DEADLINE_S) -> Done:
        """Run a block of bash where the last one ended."""
        script = REMEMBER.format(state=self._state, text=text)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.cwd,
            env={},
            capture_output=True,
            text=True,
            timeout=deadline_s,
            check=False,
        )
        return Done(text, done.returncode, done.stdout, done.stderr)

    @property
    def cwd(self) -> Path:
        """Where the terminal is."""
        return Path(self.variables["PWD"])

    @property
    def variables(self) -> dict[str, str]:
        """The terminal's environment."""
        listed = subprocess.run(
            ["bash", "-c", f'set -a; source "{self._state}"; env -0'],
            env={},
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(entry.split("=", 1) for entry in listed.stdout.split("\0") if "=" in entry)

    def _write_state(self, hub: Path, variables: Mapping[str, str]) -> None:
        cache = os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))
        passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED)}
        values = {
            **passed,
            "HOME": str(self.home),
            "PWD": str(self.home),
            # uv is in the environment of the tests, whichever runs them.
            "PATH": f"{Path(sys.executable).parent}:{ROOT}/.venv/bin:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "COLUMNS": "160",
            "HF_HOME": str(hub),
            "HF_HUB_OFFLINE": "1",
            "WANDB_MODE": "offline",
            "UV_CACHE_DIR": cache,
            # The repository stands for the URL that is cloned.
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": f"url.file://{ROOT}.insteadOf",
            "GIT_CONFIG_VALUE_0": CLONED,
            "GIT_CONFIG_KEY_1": "safe.directory",
            "GIT_CONFIG_VALUE_1": "*",
            # Models are so small that a second thread costs more than it brings.
            "OMP_NUM_THREADS": "1",
            **variables,
        }
        quoted = (f"{name}={_quoted(value)}\n" for name, value in values.items())
        self._state.write_text("".join(quoted))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
