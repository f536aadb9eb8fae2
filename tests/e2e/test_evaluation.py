"""A checkpoint evaluated on its own scores what its run did at that step, and no file of the run changes."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tetrad_config.interpolation import ASSETS

pytestmark = [pytest.mark.long, pytest.mark.live, pytest.mark.timeout(720)]

NUM_ROWS = 12
RUN = (
    "+experiment=demo",
    "trainer.run_name=judged",
    "trainer.max_steps=2",
    "trainer.train_batch_size=2",
    "trainer.policy_mini_batch_size=2",
    "trainer.eval_before_train=false",
    "trainer.eval_interval=2",
    "trainer.eval_sampled_n=0",
    "generator.n_samples_per_prompt=4",
    "environment.gsm8k.mode=flexible",
)


def test_a_checkpoint_scores_what_its_run_did_and_nothing_changes(tmp_path: Path) -> None:
    easy, hard = _two_datasets(tmp_path)
    run = (*RUN, f"data.val_data=[{easy}, {hard}]")
    run_dir, answers = tmp_path / "outputs" / "judged", tmp_path / "answers"
    _tetrad(tmp_path, "train", *run)
    theirs, files = _scores_of(run_dir / "metrics.jsonl", step=2), _hashes(run_dir)
    checkpoint = run_dir / "checkpoints" / "latest"

    report = json.loads(_tetrad(tmp_path, "eval", "--checkpoint", str(checkpoint), "--output", "scores.json"))
    told = (f"trainer.policy.model.path={checkpoint}", "trainer.epochs=0", "trainer.eval_before_train=true")
    dump = ("trainer.dump_eval_results=true", f"trainer.export_path={answers}")
    _tetrad(tmp_path, "train", *run, *told, *dump)

    assert _hashes(run_dir) == files
    assert report["step"] == 2
    assert report["scores"] == theirs == json.loads((tmp_path / "scores.json").read_text())["scores"]
    dumped = answers / "dumped_evals" / "global_step_0_evals"
    assert json.loads((dumped / "aggregated_results.jsonl").read_text()) == theirs
    _check_sides(theirs, dumped)
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["judged"]


def _check_sides(scores: dict[str, float], answers: Path) -> None:
    """The rules stand side by side, for each dataset and over all, and in every answer."""
    for dataset in ("easy", "hard", "all"):
        assert scores[f"eval/{dataset}/mean_reward_flexible"] == scores[f"eval/{dataset}/mean_reward"]
        assert scores[f"eval/{dataset}/mean_reward_strict"] == 0.0
    assert scores["eval/all/pass_at_1"] > 0.0
    for dataset in ("easy", "hard"):
        rows = [json.loads(line) for line in (answers / f"{dataset}.jsonl").read_text().splitlines()]
        assert [row["row"] for row in rows] == list(range(NUM_ROWS))
        assert {row["scores"]["flexible"] == row["score"] for row in rows} == {True}
        assert sum(row["score"] for row in rows) / NUM_ROWS == scores[f"eval/{dataset}/mean_reward"]


def _two_datasets(folder: Path) -> Iterator[Path]:
    """Sums, judged as word problems are: a bare number is right for the flexible rule, and wrong for the strict one."""
    with (ASSETS / "demo" / "validation.jsonl").open() as lines:
        for name in ("easy", "hard"):
            rows = [{**json.loads(line), "env_class": "gsm8k"} for line in islice(lines, NUM_ROWS)]
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            yield folder / f"{name}.jsonl"


def _tetrad(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tetrad_cli", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _scores_of(metrics: Path, *, step: int) -> dict[str, float]:
    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    return next(r["metrics"] for r in records if r["step"] == step and "eval/all/mean_reward" in r["metrics"])


def _hashes(folder: Path) -> dict[str, str]:
    """Of every file, links by where they point."""
    paths = sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return {
        str(path): str(path.readlink()) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }
