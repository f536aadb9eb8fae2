"""Starts `fake_launch.py` in a process of its own and watches it from outside."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tetrad_cli.launch.control import Reply, Request, ask
from tetrad_cli.launch.proc import start_ticks

PROGRAM = Path(__file__).with_name("fake_launch.py")
DEADLINE_S = 20.0


def wait_until(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    return start_ticks(pid) is not None


@dataclass
class Launcher:
    """A launcher of fake roles, started as a user would start one."""

    run_dir: Path
    process: "subprocess.Popen[str]"
    output: Path

    def said(self) -> str:
        return self.output.read_text()

    def wait_until_up(self) -> None:
        wait_until(lambda: "UP" in self.said() or self.process.poll() is not None, "the launcher is up")
        assert self.process.poll() is None, self.said()

    def wait(self) -> int:
        return self.process.wait(DEADLINE_S)

    def ask(self, op: str, **fields: object) -> Reply:
        return asyncio.run(ask(self.run_dir, Request(op=op, **fields), deadline_s=DEADLINE_S))

    def pids(self) -> dict[str, int | None]:
        return {one.name: one.pid for one in self.ask("status").instances}

    def row(self, name: str):
        return next(one for one in self.ask("status").instances if one.name == name)

    def diary(self, *words: str) -> list[tuple[str, ...]]:
        """What the roles wrote so far: (word, name, pid), of the given words."""
        path = self.run_dir / "diary"
        lines = [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if not words or line[0] in words]

    def all_pids(self) -> set[int]:
        """Every process that the roles ever were or started."""
        lines = self.diary()
        return {int(line[-1]) for line in lines} | {int(line[1]) for line in lines if line[0] == "grandchild"}

    def log(self, name: str) -> str:
        return (self.run_dir / "logs" / f"{name}.log").read_text()


@contextmanager
def launching(run_dir: Path, *roles: dict[str, object], output: Path | None = None) -> Iterator[Launcher]:
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    said = output or run_dir.with_suffix(".out")
    with said.open("w") as file:
        command = [sys.executable, str(PROGRAM), str(run_dir), json.dumps(roles)]
        env = {**os.environ, "XDG_RUNTIME_DIR": ""}
        process = subprocess.Popen(command, stdout=file, stderr=file, text=True, env=env)
    launcher = Launcher(run_dir, process, said)
    try:
        yield launcher
    finally:
        # Twice: the second says hurry.
        for _ in range(2):
            if process.poll() is None:
                process.terminate()
                time.sleep(0.1)
        process.wait(DEADLINE_S)
