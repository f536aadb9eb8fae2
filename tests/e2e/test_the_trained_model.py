"""What a run leaves is a model: from_pretrained loads it, and `tetrad infer` answers as the run's evaluation did."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tetrad_config.interpolation import ASSETS

pytestmark = [pytest.mark.live, pytest.mark.timeout(420)]

VALIDATION = ASSETS / "demo" / "validation.jsonl"
LAST_STEP = 20


def tetrad(folder: Path, *words: str, stdin: str = "") -> str:
    command = [sys.executable, "-m", "tetrad_cli", *words]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=360,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest preset, as it is, but for its answers."""
    folder = tmp_path_factory.mktemp("tiny")
    tetrad(folder, "train", "+experiment=cpu-tiny", "trainer.dump_eval_results=true")
    return folder / "outputs" / "cpu-tiny"


def scores(run_dir: Path) -> dict[int, float]:
    """Accuracy of greedy answers, by step."""
    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    name = "eval/all/pass_at_1"
    return {record["step"]: record["metrics"][name] for record in records if name in record["metrics"]}


def answers(run_dir: Path) -> list[str]:
    """Of the last evaluation, in the order of the data."""
    folder = run_dir / "exports" / "dumped_evals" / f"global_step_{LAST_STEP}_evals"
    return [json.loads(line)["output_response"] for line in (folder / "validation.jsonl").read_text().splitlines()]


def test_the_smallest_preset_learns_in_twenty_steps(run_dir: Path) -> None:
    by_step = scores(run_dir)

    assert list(by_step) == [0, 10, LAST_STEP]
    assert by_step[LAST_STEP] > by_step[0] + 0.05


def test_a_checkpoint_is_loaded_by_transformers_and_answers_as_the_run_did(run_dir: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = run_dir / "checkpoints" / f"global_step_{LAST_STEP}"
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32, device_map="auto")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompts = [json.loads(line)["prompt"] for line in VALIDATION.read_text().splitlines()[:20]]

    said = []
    for messages in prompts:
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(**inputs, max_new_tokens=4, do_sample=False)
        said.append(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))

    assert said == answers(run_dir)[:20]


def test_infer_gives_the_answers_and_the_accuracy_of_the_run_s_own_evaluation(run_dir: Path) -> None:
    model = str(run_dir / "checkpoints" / "latest")

    lines = tetrad(run_dir, "infer", "--model", model, "--file", str(VALIDATION), "--max-tokens", "4", "--json")
    graded = tetrad(run_dir, "grade", "--env", "arithmetic", stdin=lines)

    assert [json.loads(line)["response"] for line in lines.splitlines()] == answers(run_dir)
    rewards = [json.loads(line)["reward"] for line in graded.splitlines()]
    assert sum(reward > 0 for reward in rewards) / len(rewards) == scores(run_dir)[LAST_STEP]


@pytest.mark.long
def test_the_evaluation_command_gives_the_run_s_accuracy_and_writes_nothing(run_dir: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}

    report = json.loads(tetrad(run_dir.parent, "eval", "--checkpoint", str(run_dir / "checkpoints" / "latest")))

    assert report["step"] == LAST_STEP
    assert report["scores"]["eval/all/pass_at_1"] == scores(run_dir)[LAST_STEP]
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before
