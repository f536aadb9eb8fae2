"""TRL's side of `learner.py`: training steps of its GRPOTrainer on samples that are there already, timed.

    python benchmarks/learner_trl.py SETTING

Nothing is generated: the method that generates and scores hands over the benchmark's samples, in the form that TRL's
own returns. The last line of its output is JSON: seconds of each counted step, and the peak of its memory.
"""

import json
import resource
import sys
import tempfile
import time
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from learner_setting import GROUP_SIZE, Setting
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer


class GivenSamples(GRPOTrainer):  # type: ignore[misc]  # TRL is untyped
    """Trains on the samples of the setting."""

    setting: Setting

    def _generate_and_score_completions(self, _inputs: Any) -> dict[str, torch.Tensor]:
        setting, device = self.setting, self.accelerator.device
        lengths = torch.from_numpy(setting.response_lengths())
        num, longest = len(lengths), int(lengths.max())
        ids = torch.from_numpy(setting.token_ids(num * (setting.prompt_tokens + longest))).view(num, -1)
        mask = (torch.arange(longest)[None] < lengths[:, None]).long()
        rewards = torch.from_numpy(np.arange(num) % 3).float().view(-1, GROUP_SIZE)
        advantages = (rewards - rewards.mean(-1, keepdim=True)) / rewards.std(-1, keepdim=True)
        samples = {
            "prompt_ids": ids[:, : setting.prompt_tokens],
            "prompt_mask": torch.ones(num, setting.prompt_tokens, dtype=torch.long),
            "completion_ids": ids[:, setting.prompt_tokens :] * mask,
            "completion_mask": mask,
            "advantages": advantages.flatten(),
        }
        return {name: tensor.to(device) for name, tensor in samples.items()} | {
            "num_items_in_batch": mask.sum().to(device)
        }


class StepEnds(TrainerCallback):  # type: ignore[misc]  # as above
    """Notes when steps end, once the device is done."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def _note(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())

    def on_train_begin(self, *_args: Any, **_kwargs: Any) -> None:
        """Start the clock."""
        self._note()

    def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
        """Close the step."""
        self._note()


def config(setting: Setting, folder: str) -> Any:
    """The same step as ours: float32 master weights, bfloat16 by autocast on a GPU, no KL."""
    is_gpu = setting.device == "cuda"
    return GRPOConfig(
        output_dir=folder,
        use_cpu=not is_gpu,
        bf16=is_gpu,
        fp16=False,
        per_device_train_batch_size=setting.micro_batch_size,
        gradient_accumulation_steps=setting.num_samples // setting.micro_batch_size,
        num_generations=GROUP_SIZE,
        max_completion_length=2 * setting.mean_response_tokens,
        max_steps=setting.num_steps,
        num_iterations=1,
        beta=0.0,
        loss_type="dapo",  # mean over all tokens of the step, as ours
        learning_rate=1e-6,
        lr_scheduler_type="constant",
        weight_decay=0.01,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        gradient_checkpointing=setting.gradient_checkpointing,
        torch_compile=setting.use_torch_compile,
        save_strategy="no",
        report_to=[],
        logging_strategy="no",
        disable_tqdm=True,
    )


def main() -> None:
    """Train, print the record."""
    setting = Setting.of(sys.argv[1])
    torch.set_num_threads(setting.num_threads)
    clock = StepEnds()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = GivenSamples(
            model=AutoModelForCausalLM.from_pretrained(setting.model, dtype=torch.float32, attn_implementation="sdpa"),
            reward_funcs=lambda completions, **_columns: [0.0] * len(completions),
            args=config(setting, scratch),
            train_dataset=Dataset.from_dict({"prompt": ["a"] * setting.num_samples}),
            processing_class=AutoTokenizer.from_pretrained(setting.model, padding_side="left"),
            callbacks=[clock],
        )
        trainer.setting = setting
        trainer.train()
    seconds = np.diff(clock.ends).tolist()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peak_bytes = torch.cuda.max_memory_allocated() if setting.device == "cuda" else resident
    print(json.dumps({"step_s": seconds[setting.num_warm_up_steps :], "peak_bytes": peak_bytes}))


if __name__ == "__main__":
    main()
