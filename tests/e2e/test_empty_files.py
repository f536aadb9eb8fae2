"""A run whose files of training data are all empty: how it ends, and who says why."""

import subprocess
import sys

import pytest
from chaos.run_under_test import MakeRun

from tetrad_runtime.exits import ExitCode

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def test_a_run_without_a_row_ends_at_once_and_tetrad_why_names_the_files(make_run: MakeRun) -> None:
    run = make_run("data.train_data=[first.jsonl,second.jsonl]")
    run.folder.mkdir(exist_ok=True)
    for name in ("first.jsonl", "second.jsonl"):
        (run.folder / name).touch()

    code = run.start().finish()

    asked = subprocess.run(
        [sys.executable, "-m", "tetrad_cli", "why"],
        cwd=run.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert code == ExitCode.DATA, run.last_words()
    assert "no rows in first.jsonl, second.jsonl" in run.log("learner")
    assert "The learner waits for nothing: the run chaos is over since" in asked.stdout
    assert "learner: exit code 65 (the data)" in asked.stdout
    assert "no rows in first.jsonl, second.jsonl" in asked.stdout
    run.check_nothing_is_left()
