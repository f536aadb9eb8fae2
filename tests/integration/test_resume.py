"""A run that is interrupted and started again ends with the very weights of one that was left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.live, pytest.mark.timeout(400)]

STEPS = 6
RUN = (
    "+experiment=demo",
    f"trainer.max_steps={STEPS}",
    "trainer.ckpt_interval=2",
    "trainer.eval_before_train=false",
    "trainer.eval_interval=-1",
    "trainer.train_batch_size=8",
    "trainer.policy_mini_batch_size=8",
    "generator.n_samples_per_prompt=4",
    "generator.deterministic=true",
)
DEADLINE_S = 180.0


def start(folder: Path, *overrides: str) -> "subprocess.Popen[str]":
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TETRAD_")}
    return subprocess.Popen(
        [sys.executable, "-m", "tetrad_cli", "train", *RUN, *overrides],
        cwd=folder,
        env={**environ, "XDG_RUNTIME_DIR": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: "subprocess.Popen[str]", *, code: int = 0) -> str:
    try:
        said, _ = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == code, said
    return said


def steps_of(run_dir: Path) -> list[int]:
    path = run_dir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line)["step"] for line in lines]


def interrupt_after_the_first_step(process: "subprocess.Popen[str]", run_dir: Path) -> None:
    end = time.monotonic() + DEADLINE_S
    while not steps_of(run_dir):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, f"no step within {DEADLINE_S:g} s"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)


def final_weights(run_dir: Path) -> bytes:
    return (run_dir / "checkpoints" / f"global_step_{STEPS}" / "model.safetensors").read_bytes()


def test_an_interrupted_run_goes_on_and_ends_with_the_same_weights_bit_for_bit(tmp_path):
    outputs = tmp_path / "outputs"
    ended(start(tmp_path, "trainer.run_name=whole"))
    first = start(tmp_path, "trainer.run_name=halved")
    interrupt_after_the_first_step(first, outputs / "halved")
    assert "SIGINT: draining" in ended(first, code=130)
    trained = len(steps_of(outputs / "halved"))
    assert 0 < trained < STEPS

    second = ended(start(tmp_path, "trainer.run_name=halved", "trainer.resume_mode=latest", "trainer.overwrite=false"))

    assert "holds a run, which goes on" in second
    assert f"Step {trained}:" not in second
    assert steps_of(outputs / "halved") == list(range(1, STEPS + 1))
    assert final_weights(outputs / "halved") == final_weights(outputs / "whole")
