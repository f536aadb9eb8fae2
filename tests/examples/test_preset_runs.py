"""Presets that no example stands for train in miniature, and what they are for is seen in what the run logs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.live, pytest.mark.timeout(900)]

SHORT = ("+experiment=cpu-tiny", "trainer.max_steps=2", "trainer.eval_before_train=false", "trainer.eval_interval=2")


def figures_of(preset: str, folder: Path) -> dict[str, float]:
    """Train two steps and return what was logged last of each name."""
    done = subprocess.run(
        [sys.executable, "-m", "tetrad_cli", "train", f"+experiment={preset}", *SHORT],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run_dir = folder / "outputs" / "cpu-tiny"
    assert (run_dir / "checkpoints" / "global_step_2" / "model.safetensors").is_file()
    figures: dict[str, float] = {}
    for line in (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        figures |= json.loads(line)["metrics"]
    return figures


@pytest.mark.parametrize("preset", ["one-gpu", "gsm8k-grpo"])
def test_a_preset_with_a_reference_pays_for_divergence_from_it(preset: str, tmp_path: Path) -> None:
    figures = figures_of(preset, tmp_path)

    assert 0.0 < figures["eval/all/pass_at_1"] <= 1.0
    assert figures["train/kl_loss"] > 0.0


def test_fast_has_no_reference_and_weighs_tokens(tmp_path: Path) -> None:
    figures = figures_of("fast", tmp_path)

    assert 0.0 < figures["eval/all/pass_at_1"] <= 1.0
    assert figures["train/kl_loss"] == 0.0
    assert "policy/loss_metrics/tis_token_clip_high_ratio" in figures
