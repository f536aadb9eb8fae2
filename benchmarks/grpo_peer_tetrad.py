"""Our side of `grpo_step.py`: `tetrad train`, all four services, timed by what the run itself writes."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grpo_setting import PROMPTS, Setting, thread_environment
from process_tree import Peaks, Watcher

ROOT: Final = Path(__file__).parent.parent
RUN_NAME: Final = "benchmark-grpo-step"
RANK: Final = "-m tetrad_learner.rank"
TORCHRUN: Final = "torch.distributed.run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One run, from start to end."""

    steps: list[dict[str, float]]
    """`step_s`, `generate_s`, `train_s`, `publish_s`, `new_tokens` of each step."""
    peaks: Peaks

    @property
    def rank_peak_bytes(self) -> int:
        """Peak of the learner's only rank, without the launcher that starts it."""
        ranks = [pid for pid, text in self.peaks.command.items() if RANK in text and TORCHRUN not in text]
        return max(self.peaks.resident[pid] for pid in ranks)


def run(model: Path, setting: Setting, *, folder: Path, timeout_s: float) -> Turn:
    """Train `setting.num_steps` steps in a folder of their own; raise CalledProcessError where the run fails."""
    rows = folder / "prompts.jsonl"
    rows.write_text("".join(json.dumps(_row(prompt)) + "\n" for prompt in PROMPTS), encoding="utf-8")
    run_dir = folder / "run"
    command = [sys.executable, "-m", "tetrad_cli", "train", *overrides(model, setting, rows=rows, run_dir=run_dir)]
    with (folder / "output.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=log, env=thread_environment(setting.num_threads)
        )
        with Watcher(process.pid) as watcher:
            try:
                code = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait(60)
                raise
    if code:
        raise subprocess.CalledProcessError(code, command, (folder / "output.log").read_text(encoding="utf-8")[-4000:])
    return Turn(steps=read_steps(run_dir / "metrics.jsonl"), peaks=watcher.peaks)


def overrides(model: Path, setting: Setting, *, rows: Path, run_dir: Path) -> list[str]:
    """The run file of the same step: synchronous, one optimizer step on fresh samples, no KL, float32."""
    function = Path(__file__).with_name("grpo_setting.py")
    return [
        "+experiment=cpu",
        f"data.train_data=[{rows}]",
        "data.val_data=[]",
        f"trainer.run_name={RUN_NAME}",
        f"trainer.run_dir={run_dir}",
        "trainer.resume_mode=none",
        "trainer.overwrite=true",
        "trainer.logger=[console]",
        f"trainer.policy.model.path={model}",
        f"trainer.policy.optimizer_config.lr={setting.learning_rate}",
        f"trainer.policy.optimizer_config.weight_decay={setting.weight_decay}",
        f"trainer.policy.optimizer_config.max_grad_norm={setting.max_grad_norm}",
        "trainer.policy.optimizer_config.scheduler=constant",
        "trainer.algorithm.use_kl_loss=false",
        f"trainer.algorithm.eps_clip_low={setting.clip}",
        f"trainer.algorithm.eps_clip_high={setting.clip}",
        "trainer.gradient_checkpointing=false",
        f"trainer.epochs={setting.num_steps}",
        f"trainer.max_steps={setting.num_steps}",
        f"trainer.train_batch_size={len(PROMPTS)}",
        f"trainer.policy_mini_batch_size={len(PROMPTS)}",
        f"trainer.micro_train_batch_size_per_gpu={setting.micro_batch_size}",
        f"trainer.micro_forward_batch_size_per_gpu={setting.micro_batch_size}",
        "trainer.max_prompt_length=512",
        "trainer.eval_before_train=false",
        "trainer.eval_interval=-1",
        "trainer.ckpt_interval=-1",
        f"generator.n_samples_per_prompt={setting.num_samples}",
        f"generator.max_num_seqs={setting.batch_size}",
        f"generator.sampling_params.max_generate_length={setting.max_new_tokens}",
        f"generator.sampling_params.temperature={setting.temperature}",
        f"resources.threads_per_process={setting.num_threads}",
        f"reward.implementation={function}:reward",
    ]


def read_steps(path: Path) -> list[dict[str, float]]:
    """Where the time of each step went, from the run's own metrics."""
    names = {
        "step_s": "timing/step",
        "generate_s": "timing/generate",
        "train_s": "timing/train",
        "publish_s": "timing/publish",
        "new_tokens": "generate/avg_num_tokens",
    }
    records = [json.loads(line)["metrics"] for line in path.read_text(encoding="utf-8").splitlines()]
    return [{ours: metrics[name] for ours, name in names.items()} for metrics in records if "timing/step" in metrics]


def _row(prompt: str) -> dict[str, object]:
    return {"prompt": [{"role": "user", "content": prompt}], "reward_spec": {"method": "rule", "ground_truth": None}}
