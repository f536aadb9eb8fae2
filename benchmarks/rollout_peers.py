"""The bare engine's process as `rollout.py` sees it, and the run file that both sides are made from."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from accelerator import gpu_name
from order_lines import Child
from rollout_turn import Batch, Turn

from tetrad_config import RunConfig, dump_resolved
from tetrad_rollout.rendering import Renderer, load_tokenizer

PROGRAM: Final = Path(__file__).with_name("rollout_bare.py")
REWARD: Final = Path(__file__).with_name("grpo_setting.py")
PROMPT_TOKENS: Final = 100
"""No prompt has more."""
GRAPH_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def a_config(
    model: Path, *, backend: str, attention: str, folder: Path, max_samples: int, num_tokens: int
) -> RunConfig:
    """The run file of one replica; its engine takes all samples of a turn at once."""
    # Twice what they need; bounded, so that engines that start side by side do not take each other's memory.
    kv_tokens = 2 * max_samples * (PROMPT_TOKENS + num_tokens)
    return RunConfig.model_validate(
        {
            "trainer": {"policy": {"model": {"path": str(model)}}, "run_dir": str(folder / "run")},
            "generator": {
                "backend": backend,
                "model_name": str(model),
                "model_dtype": "bfloat16" if gpu_name() else "float32",
                "max_num_seqs": max_samples,
                "n_samples_per_prompt": 4,
                "gpu_memory_utilization": 0.8,
                # A probe is the first request, and may wait for kernels to be compiled.
                "weight_sync_timeout": 600.0,
                "engine_init_kwargs": engine_arguments(attention, kv_tokens=kv_tokens) if backend == "sglang" else {},
            },
            "reward": {"implementation": f"{REWARD}:reward", "num_workers": 4},
        }
    )


def engine_arguments(attention: str, *, kv_tokens: int) -> dict[str, Any]:
    """What keeps SGLang's start short and its memory bounded, the same on both sides."""
    arguments: dict[str, Any] = {
        "max_total_tokens": kv_tokens,
        "disable_prefill_cuda_graph": True,
        "cuda_graph_bs_decode": list(GRAPH_SIZES),
        "watchdog_timeout": 600,
    }
    return arguments | ({"attention_backend": attention} if attention else {})


class BareEngine:
    """`rollout_bare.py`: `await start()`, `await play(…)`, `await close()`."""

    def __init__(self, name: str, config: RunConfig, folder: Path) -> None:
        self.name, self._config = name, config
        self._path = folder / "bare.yaml"
        self._child = Child(name, [PROGRAM, self._path], log=folder / "bare.log")
        self._renderer: Renderer | None = None

    async def start(self, *, timeout_s: float) -> None:
        """Start the process and wait until its engine is ready."""
        self._path.write_text(dump_resolved(self._config), encoding="utf-8")
        tokenizer = await asyncio.to_thread(load_tokenizer, self._config.generator.model_name)
        self._renderer = Renderer(tokenizer, max_prompt_length=self._config.trainer.max_prompt_length)
        await self._child.start(timeout_s=timeout_s)

    async def play(self, batch: Batch, messages: Sequence[str], *, timeout_s: float) -> Turn:
        """Generate the turn's samples."""
        assert self._renderer is not None
        prompts = [self._renderer.prompt([{"role": "user", "content": message}]).tolist() for message in messages]
        order = {"input_ids": prompts, "num_samples": batch.num_samples, "num_tokens": batch.num_tokens}
        return Turn.of(await self._child.ask(order, timeout_s=timeout_s))

    async def close(self) -> None:
        """End the process."""
        await self._child.close()
