"""Runs the blocks of a page one after another in a folder of its own, as somebody would who reads it from the top.

The folder is a copy of the repository, so that no block can change the original; the environment alone is the one that
the tests run in. Variables that a block exports and the folder that it changes to hold for the next one.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from docs.blocks import COMMANDS, Block, Verb
from docs.pages import ROOT

LEFT_OUT: Final = shutil.ignore_patterns(".*", "outputs", "build", "node_modules", "__pycache__", "*.egg-info")
"""What a clone would not have."""
READY: Final = ".ready"
"""Stands for make's mark of a finished set-up, which would put this copy in the place of what is installed."""
BLOCK_TIMEOUT_S: Final = 400.0
# Nothing here waits for the real length of a run; the command line still has the last word.
SHORT_RUNS: Final = {
    "TETRAD_TRAINER__MAX_STEPS": "2",
    "TETRAD_TRAINER__EVAL_BEFORE_TRAIN": "false",
    "TETRAD_TRAINER__EVAL_INTERVAL": "-1",
}


class Session:
    """One reader's shell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._home = folder / "home"
        self._state = folder / ".state.sh"
        shutil.copytree(ROOT, folder, symlinks=True, ignore=LEFT_OUT, dirs_exist_ok=True)
        self._home.mkdir()
        (folder / ".venv").symlink_to(Path(sys.prefix))

    def run(self, block: Block, *, is_later: bool) -> None:
        """Run one block, or write the file that it shows; raise AssertionError with what it said if it fails."""
        variables = dict(word.split("=", 1) for word in block.said(Verb.WITH))
        if block.file is not None:
            (self.folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language in COMMANDS:
            self.shell("\n".join(block.commands(is_later=is_later)), variables, where=block.name)
        else:
            script = self.folder / f".block_{block.line}.py"
            script.write_text(block.text, encoding="utf-8")
            self.shell(f"{sys.executable} {script.name}", variables, where=block.name)

    def shell(self, script: str, variables: dict[str, str] | None = None, *, where: str) -> str:
        """Run lines of a shell and return what they said."""
        (self.folder / READY).touch()
        words = "set -euo pipefail\n"
        words += f"[ ! -f {self._state} ] || source {self._state}\n{script}\n"
        words += f"{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} > {self._state}\n"
        with (self.folder / ".said.txt").open("w+", encoding="utf-8") as said:
            process = subprocess.Popen(
                ["bash", "-c", words],
                cwd=self.folder,
                env=self._environment() | (variables or {}),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(BLOCK_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                code = process.wait()
            said.seek(0)
            text = said.read()
        assert code == 0, f"{where} ended with code {code}\n{script}\n{text[-6000:]}"
        return text

    def close(self) -> None:
        """End what blocks left running in the background."""
        for lock in self.folder.glob("outputs/*/launcher.lock"):
            if lock.read_text().strip():
                command = [
                    sys.executable,
                    "-m",
                    "tetrad_cli",
                    "down",
                    "--run-dir",
                    str(lock.parent),
                    "--deadline",
                    "30",
                ]
                subprocess.run(command, env=self._environment(), capture_output=True, timeout=90, check=False)

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("TETRAD_", "PYTEST_", "MAKE"))
        }
        return {
            **kept,
            **SHORT_RUNS,
            "HOME": str(self._home),
            "HF_HUB_OFFLINE": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "MAKEFLAGS": f"STAMP={READY}",
        }
