"""`tetrad up`, `status`, `scale`, `logs` and `down` on the real services, as an operator uses them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from chaos.run_under_test import MakeRun, RunUnderTest

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def _tetrad(folder: Path, *words: str, timeout_s: float = 120.0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tetrad_cli", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _ready(folder: Path, role: str) -> int:
    rows = json.loads(_tetrad(folder, "status", "--json"))["rows"]
    return sum(row["instance"]["role"] == role and row["ready"] == "yes" for row in rows)


def test_an_operators_day(make_run: MakeRun) -> None:
    run: RunUnderTest = make_run("trainer.max_steps=5000", grade_s=0.3)

    _tetrad(run.folder, "up", *run.overrides)
    assert _ready(run.folder, "learner") == 1
    _tetrad(run.folder, "scale", "rollout=2")
    assert len([one for one in run.instances() if one.role == "rollout"]) == 2
    assert "rollout-1" in _tetrad(run.folder, "logs")
    _tetrad(run.folder, "scale", "rollout=1")
    _tetrad(run.folder, "down")

    assert run.processes() == []
    run.check_nothing_is_left()
