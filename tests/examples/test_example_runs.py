"""Each example trains on a CPU as its page says, all four services, and leaves what it promises."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from examples.readme import EXAMPLES, OURS, folder_of, training_commands

pytestmark = [pytest.mark.long, pytest.mark.live, pytest.mark.timeout(900)]

SHORT = (
    "trainer.max_steps=2",
    "trainer.eval_before_train=false",
    "trainer.eval_interval=2",
    "trainer.dump_eval_results=true",
)
NAMES = [name for name in OURS if training_commands(name, is_miniature=True)]


class Trained:
    """An example after its run."""

    def __init__(self, name: str, root: Path) -> None:
        shutil.copytree(EXAMPLES, root / "examples")
        self.folder = folder_of(name, root)
        (words,) = training_commands(name, is_miniature=True)
        self.run("train", *words, *SHORT)
        self.run_dir = self.folder / "outputs" / "cpu-tiny"
        self.checkpoint = self.run_dir / "checkpoints" / "global_step_2"
        self.figures: dict[str, float] = {}
        for line in (self.run_dir / "metrics.jsonl").read_text().splitlines():
            self.figures |= json.loads(line)["metrics"]

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tetrad_cli", *words],
            cwd=self.folder,
            env={**os.environ, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=420,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def answers(self) -> list[dict[str, object]]:
        """What the last evaluation wrote."""
        (folder,) = (self.run_dir / "exports" / "dumped_evals").iterdir()
        return [json.loads(line) for line in (folder / "validation.jsonl").read_text().splitlines()]


@pytest.fixture
def trained(request: pytest.FixtureRequest, tmp_path: Path) -> Trained:
    return Trained(request.param, tmp_path)


def every_but(*names: str) -> list[str]:
    return [name for name in NAMES if name not in names]


@pytest.mark.parametrize(
    "trained", every_but("lora", "ppo-gae", "wandb", "custom-environment", "multi-gpu", "larger-model"), indirect=True
)
def test_it_trains_and_its_checkpoint_is_there(trained: Trained) -> None:
    assert (trained.checkpoint / "model.safetensors").is_file()
    assert 0.0 < trained.figures["eval/all/pass_at_1"] <= 1.0
    assert list((trained.run_dir / "tensorboard").iterdir())


@pytest.mark.parametrize("trained", ["ppo-gae"], indirect=True)
def test_a_critic_is_trained(trained: Trained) -> None:
    assert trained.figures["critic/grad_norm"] > 0.0


@pytest.mark.parametrize("trained", ["larger-model"], indirect=True)
def test_two_engines_generate_for_one_rank(trained: Trained) -> None:
    logs = {path.stem for path in (trained.run_dir / "logs").iterdir()}

    assert {"rollout-0", "rollout-1"} <= logs
    assert (trained.checkpoint / "model.safetensors").is_file()


@pytest.mark.parametrize("trained", ["multi-gpu"], indirect=True)
def test_two_ranks_and_two_engines_share_the_work(trained: Trained) -> None:
    logs = {path.stem for path in (trained.run_dir / "logs").iterdir()}

    assert {"rollout-0", "rollout-1"} <= logs
    assert (trained.checkpoint / "model.safetensors").is_file()


@pytest.mark.parametrize("trained", ["wandb"], indirect=True)
def test_figures_wait_in_the_run_s_folder_for_a_key(trained: Trained) -> None:
    assert list((trained.run_dir / "wandb").glob("offline-run-*/run-*.wandb"))


@pytest.mark.parametrize("trained", ["custom-environment"], indirect=True)
def test_wrong_answers_are_asked_for_again(trained: Trained) -> None:
    answers = trained.answers()

    turns = {(answer["num_turns"], answer["scores"]["first_try"]) for answer in answers}  # type: ignore[index]  # JSON
    assert turns == {(1, 1.0), (2, 0.0)}
    assert {answer["env_metrics"]["tries"] == answer["num_turns"] for answer in answers} == {True}  # type: ignore[index]


@pytest.mark.parametrize("trained", ["lora"], indirect=True)
def test_merged_model_and_adapters_alone_say_the_same(trained: Trained) -> None:
    words = ("--prompt", "13+54=", "--prompt", "20+30=", "--prompt", "7+8=")

    merged, alone = (
        trained.run("infer", "--model", str(trained.checkpoint / part), *words) for part in (".", "adapter")
    )

    assert merged == alone
    assert (trained.checkpoint / "adapter" / "adapter_model.safetensors").is_file()
