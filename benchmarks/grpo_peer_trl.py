"""TRL's side of `grpo_step.py`: some GRPO steps of its GRPOTrainer, timed from inside; runs in `.venv-bench`.

    python benchmarks/grpo_peer_trl.py MODEL_FOLDER '{"num_steps": 4}'

The last line of its output is JSON: one record for each step, and the peak of its memory.
"""

import json
import resource
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from datasets import Dataset
from grpo_setting import PROMPTS, Setting, reward
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer


@dataclass(slots=True)
class Clock:
    """Seconds of the step that runs now, and of those before."""

    began: float = 0.0
    generate_s: float = 0.0
    prepare_s: float = 0.0
    """Generation, rewards and advantages together."""
    steps: list[dict[str, float]] = field(default_factory=list)

    def end_step(self) -> None:
        """Close the record of a step; what comes next belongs to the following one."""
        now = time.perf_counter()
        whole = now - self.began
        self.steps.append({"step_s": whole, "generate_s": self.generate_s, "train_s": whole - self.prepare_s})
        self.began, self.generate_s, self.prepare_s = now, 0.0, 0.0


class TimedTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL is untyped
    """Adds up the seconds spent in generation; changes nothing else."""

    clock: Clock

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        result = super()._generate(*args, **kwargs)
        self.clock.generate_s += time.perf_counter() - began
        return result

    def _generate_and_score_completions(self, *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        result = super()._generate_and_score_completions(*args, **kwargs)
        self.clock.prepare_s += time.perf_counter() - began
        return result


class StepEnds(TrainerCallback):  # type: ignore[misc]  # as above
    """Tells the clock where steps end and how long the samples were."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_train_begin(self, *_args: Any, **_kwargs: Any) -> None:
        """Start the clock."""
        self._clock.began = time.perf_counter()

    def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
        """Close the step."""
        self._clock.end_step()

    def on_log(self, _args: Any, _state: Any, _control: Any, logs: dict[str, Any], **_kwargs: Any) -> None:
        """Keep TRL's own count of the tokens of a sample."""
        if "completions/mean_length" in logs:
            self._clock.steps[-1]["new_tokens"] = float(logs["completions/mean_length"])


def trl_reward(completions: list[list[dict[str, str]]], **_columns: Any) -> list[float]:
    """The same reward in TRL's shape."""
    return [reward(messages[-1]["content"]) for messages in completions]


def config(setting: Setting, folder: str) -> Any:
    """TRL's configuration of the same step: one optimizer step on fresh samples, no KL, float32."""
    return GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        fp16=False,
        per_device_train_batch_size=setting.micro_batch_size,
        gradient_accumulation_steps=setting.batch_size // setting.micro_batch_size,
        num_generations=setting.num_samples,
        max_completion_length=setting.max_new_tokens,
        max_steps=setting.num_steps,
        num_iterations=1,
        beta=0.0,
        epsilon=setting.clip,
        loss_type="dapo",  # mean over all tokens of the step, as ours
        temperature=setting.temperature,
        learning_rate=setting.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=setting.weight_decay,
        max_grad_norm=setting.max_grad_norm,
        optim="adamw_torch",
        gradient_checkpointing=False,
        save_strategy="no",
        report_to=[],
        logging_steps=1,
        disable_tqdm=True,
    )


def main() -> None:
    """Train, print the records."""
    folder, setting = sys.argv[1], Setting.of(json.loads(sys.argv[2]))
    torch.set_num_threads(setting.num_threads)
    torch.manual_seed(0)
    rows = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    clock = Clock()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = TimedTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
            reward_funcs=trl_reward,
            args=config(setting, scratch),
            train_dataset=Dataset.from_dict({"prompt": rows}),
            processing_class=AutoTokenizer.from_pretrained(folder, padding_side="left"),
            callbacks=[StepEnds(clock)],
        )
        trainer.clock = clock
        trainer.train()
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"steps": clock.steps, "peak_bytes": peak_bytes}))


if __name__ == "__main__":
    main()
