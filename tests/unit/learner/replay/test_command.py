"""The command says what can be replayed before anything heavy is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from tetrad_learner.replay.command import main, run_folder
from tetrad_runtime.exits import ExitCode


def test_help_imports_no_torch() -> None:
    code = """
import sys
from tetrad_learner.replay.command import main
try:
    main(["--help"])
except SystemExit as asked:
    assert asked.code == 0
loaded = {"torch", "transformers", "pyarrow"} & set(sys.modules)
sys.exit(f"imported: {loaded}" if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert "--step N" in done.stdout


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--step=1"]) == ExitCode.CONFIG
    assert "holds no run" in capsys.readouterr().err


def test_what_is_no_dump_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--dump={tmp_path}"]) == ExitCode.CONFIG
    assert "name the folder of a poisoned step" in capsys.readouterr().err


def test_a_run_is_named_by_its_folder_or_below_outputs(tmp_path: Path) -> None:
    assert run_folder(str(tmp_path)) == tmp_path
    assert run_folder("demo") == Path("outputs/demo")
