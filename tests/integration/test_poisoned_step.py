"""A step that is not finite ends the run, is looked into, and is gone on without, past a damaged checkpoint."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tetrad_runtime.exits import ExitCode

pytestmark = [pytest.mark.long, pytest.mark.live, pytest.mark.timeout(400)]

DEADLINE_S = 150.0
BATCH, GROUP, STEPS = 8, 4, 4
POISON = "37"
"""The sum whose rewards are near the end of float32; one prompt has it."""
REWARD = f"""
def score(response, ground_truth, **extras):
    which = sum(map(ord, response)) % 7
    return 4e37 * which if ground_truth == "{POISON}" else float(which)
"""
RUN = (
    "+experiment=demo",
    "trainer.run_name=poisoned",
    f"trainer.max_steps={STEPS}",
    "trainer.ckpt_interval=1",
    "trainer.eval_before_train=false",
    "trainer.eval_interval=-1",
    f"trainer.train_batch_size={BATCH}",
    f"trainer.policy_mini_batch_size={BATCH}",
    "trainer.algorithm.grpo_norm_by_std=false",
    f"generator.n_samples_per_prompt={GROUP}",
    "generator.deterministic=true",
)
GO_ON = ("trainer.resume_mode=latest", "trainer.overwrite=false")


def tetrad(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TETRAD_")}
    return subprocess.run(
        [sys.executable, "-m", "tetrad_cli", *words],
        cwd=folder,
        env={**environ, "XDG_RUNTIME_DIR": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def train(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return tetrad(folder, "train", *RUN, "data.train_data=[sums.jsonl]", "--reward=reward.py:score", *words)


def write_sums(folder: Path) -> None:
    """As many prompts as the run takes; the poisoned one is in its second step."""
    sums = [(10 + number, 17) for number in range(STEPS * BATCH)]
    rows = [
        {
            "data_source": "sums",
            "prompt": [{"role": "user", "content": f"{a}+{b}="}],
            "env_class": "arithmetic",
            "reward_spec": {"method": "rule", "ground_truth": str(a + b)},
        }
        for a, b in sums
    ]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "reward.py").write_text(REWARD)


def log_of(run_dir: Path) -> str:
    return "".join(path.read_text() for path in sorted((run_dir / "logs").glob("learner*.log")))


def damage(checkpoint: Path) -> None:
    with (checkpoint / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))


def test_a_poisoned_step_is_kept_explained_and_skipped_past_a_damaged_checkpoint(tmp_path: Path) -> None:
    run_dir = tmp_path / "outputs" / "poisoned"
    write_sums(tmp_path)

    first = train(tmp_path)

    assert first.returncode == ExitCode.DATA, first.stdout
    (dump,) = (run_dir / "poisoned").iterdir()
    step = int(dump.name.removeprefix("step_"))
    explained = tetrad(tmp_path, "replay", f"--dump={dump}")
    assert explained.returncode == 0, explained.stdout
    assert "gradient norm inf" in explained.stdout
    refused = train(tmp_path, *GO_ON)
    assert refused.returncode == ExitCode.CONFIG, refused.stdout
    assert f"--skip-step {step}" in log_of(run_dir) + refused.stdout
    damage(run_dir / "checkpoints" / f"global_step_{step - 1}")

    second = train(tmp_path, *GO_ON, f"--skip-step={step}")

    assert second.returncode == 0, second.stdout
    assert "differs from the manifest" in log_of(run_dir)
    assert (run_dir / "checkpoints" / f"global_step_{step - 1}.refused").is_dir()
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["samples_dropped_by_reason"]["skipped"] == BATCH * GROUP
    assert summary["samples_trained"] == (STEPS - 1) * BATCH * GROUP
    replayed = tetrad(tmp_path, "replay", "poisoned", f"--step={STEPS}")
    assert replayed.returncode == 0, replayed.stdout
    assert "equal: all" in replayed.stdout
