"""The page of claims has what results files say, for the model that the tutorial means, and empty cells otherwise."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tetrad_config import dump_resolved, load

ROOT = Path(__file__).parents[2]
RUN_FILE = ROOT / "tests" / "unit" / "config" / "data"


@pytest.fixture
def page(monkeypatch):
    """Makes the page from results."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    import make_claims_reference

    return make_claims_reference.render


def result_of(tmp_path, *overrides):
    """What `tutorial_run.py` writes about the folder of a run of 50 steps."""
    loaded = load(overrides, config_path=RUN_FILE, config_name="my_training_config", environ={"HOME": str(tmp_path)})
    (tmp_path / "config.yaml").write_text(dump_resolved(loaded.config, loaded.origins))
    records = [(0, {"eval/all/mean_reward_strict": 0.21, "eval/all/mean_reward_flexible": 0.34})]
    records += [(step, {"timing/step": 36.0}) for step in range(1, 51)]
    records += [(50, {"eval/all/mean_reward_strict": 0.42, "eval/all/mean_reward_flexible": 0.43})]
    lines = (json.dumps({"step": step, "metrics": metrics}) for step, metrics in records)
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "benchmarks/tutorial_run.py", str(tmp_path), "--results", str(tmp_path / "results")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "results").glob("tutorial_run-*.json")
    return json.loads(path.read_text())


@pytest.mark.timeout(120)
def test_a_run_of_the_tutorials_model_fills_the_cells_strict_and_flexible_apart(page, tmp_path):
    text = page([result_of(tmp_path)])

    lines = text.splitlines()
    before, after = (next(n for n, line in enumerate(lines) if f"| {line_} |" in line) for line_ in ("575", "295, 576"))
    assert "| strict accuracy | 21.0 % |" in lines[before]
    assert "| flexible accuracy | 34.0 % |" in lines[before + 1]
    assert "| strict accuracy | 42.0 % |" in lines[after]
    assert "| flexible accuracy | 43.0 % |" in lines[after + 1]
    assert "| 50 steps | 0.50 h |" in text
    assert " | 42 | `" in lines[before]  # the seed


@pytest.mark.timeout(120)
def test_a_run_of_another_model_fills_none(page, tmp_path):
    text = page([result_of(tmp_path, "trainer.policy.model.path=HuggingFaceTB/SmolLM2-135M-Instruct")])

    measured = [line.split(" | ")[4].strip() for line in text.splitlines() if "accuracy |" in line]
    assert measured == [""] * 8
    assert "| 50 steps |  |" in text


def test_without_results_every_cell_is_empty(page):
    text = page([])

    rows = [
        line
        for line in text.splitlines()
        if line.startswith("| ") and not line.startswith(("| ---", "| claim", "| figure"))
    ]
    assert len(rows) == 12
    assert all(line.endswith("|  |  |  |  |  |") for line in rows)
