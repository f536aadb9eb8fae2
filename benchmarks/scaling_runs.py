"""Learner and whole loops of `scaling.py`: other benchmarks' programs with other numbers of GPUs."""

import asyncio
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from accelerator import gpu_name
from scaling_setting import Setting

from tetrad_runtime.orphans import die_with_parent

FOLDER: Final = Path(__file__).parent
RESERVE_S: Final = 15.0
"""For a program to end in order before the deadline."""
LOOPS: Final[Mapping[str, tuple[str, ...]]] = {
    "split": (
        "trainer.placement.colocate_all=false",
        "trainer.fully_async.max_staleness_steps=1",
    ),
    "colocated": (
        *(f"trainer.placement.{role}_num_gpus_per_node=2" for role in ("policy", "critic", "ref")),
        "trainer.placement.colocate_all=true",
        "generator.num_inference_engines=2",
    ),
    "colocated_tp2": (
        *(f"trainer.placement.{role}_num_gpus_per_node=2" for role in ("policy", "critic", "ref")),
        "trainer.placement.colocate_all=true",
        "generator.num_inference_engines=1",
        "generator.inference_engine_tensor_parallel_size=2",
    ),
}
TINY: Final = (
    "+experiment=cpu",
    "trainer.train_batch_size=4",
    "trainer.policy_mini_batch_size=4",
    "trainer.micro_train_batch_size_per_gpu=1",
    "trainer.max_steps=3",
    "trainer.max_prompt_length=256",
    "trainer.max_tokens_per_microbatch=1024",
    "generator.n_samples_per_prompt=2",
    "generator.max_num_seqs=8",
    "generator.model_dtype=float32",
    "generator.sampling_params.max_generate_length=8",
    "generator.eval_sampling_params.max_generate_length=8",
    "generator.weight_sync_timeout=300",
    "trainer.bf16=false",
)
"""What makes the loop small; its last word on placement is that of the part."""


async def measure_learner(setting: Setting, _before: Mapping[str, float]) -> dict[str, float]:
    """Tokens a second on one rank and on two, and their ratio."""
    accelerator = ["--accelerator", gpu_name()] if setting.gpus else []
    await run(setting, ["learner_ranks.py", *accelerator, "--results", str(setting.folder)])
    return results(setting.folder, "learner_ranks")


async def measure_loop(setting: Setting, _before: Mapping[str, float]) -> dict[str, float]:
    """Three steps of the tutorial's shape: seconds by phase, and the memory of each process."""
    if setting.data is None:
        raise ValueError(f"{setting.part} trains on GSM8K; name its folder with --data")
    if setting.is_tiny and setting.part == "colocated_tp2":
        raise ValueError("an engine of transformers is not split; leave colocated_tp2 out with --tiny")
    backend = "transformers" if setting.is_tiny else "sglang"
    words = [
        *("gsm8k_loop.py", "--shape", "tutorial", "--backend", backend),
        *("--data", str(setting.data), "--model", str(setting.model)),
        *("--budget", str(setting.clock.left_s - RESERVE_S), "--eval-rows", "8"),
        *("--folder", str(setting.folder / "loop"), "--results", str(setting.folder)),
        *(["--shape", "gsm8k"] if setting.is_tiny else []),
        *(TINY if setting.is_tiny else ()),
        *LOOPS[setting.part],
    ]
    await run(setting, words)
    prefix = "gsm8k_" if setting.is_tiny else "tutorial_"
    found = results(setting.folder, "gsm8k_loop")
    return {f"{setting.part}_{name.removeprefix(prefix)}": value for name, value in found.items()}


async def run(setting: Setting, words: Sequence[str]) -> None:
    """Run a program of this folder until it ends or the deadline is near; raise where it fails."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, FOLDER / words[0], *words[1:]),
        stdin=asyncio.subprocess.DEVNULL,
        preexec_fn=die_with_parent(signal.SIGTERM),
    )
    try:
        async with asyncio.timeout(setting.clock.left_s - RESERVE_S / 3):
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if code:
        raise RuntimeError(f"{words[0]} ended with code {code}")


def results(folder: Path, name: str) -> dict[str, float]:
    """The figures that a program has written there."""
    (path,) = folder.glob(f"{name}-*.json")
    metrics: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    return metrics
