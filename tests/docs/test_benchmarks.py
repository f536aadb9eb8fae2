"""The table of the benchmarks says what the results say, and each results file says all that it should."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))


def test_the_table_of_the_benchmarks_is_current():
    command = [sys.executable, str(BENCHMARKS / "make_table.py"), "--check"]

    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_a_results_file_says_what_was_measured_where_with_what_and_how(path: Path):
    result = json.loads(path.read_text(encoding="utf-8"))

    assert path.name == f"{result['name']}-{result['hardware']['slug']}.json"
    assert {"processor", "cores", "memory_gib"} <= result["hardware"].keys()
    assert result["versions"]["python"]
    assert result["commit"]
    assert result["command"].startswith("python benchmarks/")
    assert result["metrics"]
    assert all(isinstance(value, int | float) for value in result["metrics"].values())
