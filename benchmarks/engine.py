"""Tokens per second of the transformers engine against Hugging Face's `generate`, in the same process and run.

Two shapes: the demo's (its warm-start model, 32 prompts × 8 samples × 4 tokens) and that of `grpo_step.py` (a Llama of
16M random parameters, 8 × 4 × 64). Both sides get the same prompts and the same float32 weights, sample at temperature
1 and never end early. The engine returns log-probs as well; `generate` is not asked for them. They take turns; medians
over rounds, ratios within a round first. `--threads` bounds the forward passes of both.

    python benchmarks/engine.py [--rounds 5] [--threads 1]
"""

import argparse
import asyncio
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from random_llama import random_llama
from results_file import RESULTS, write_results

from tetrad_config.interpolation import asset
from tetrad_rollout.engine.catalog import EngineSettings, create_engine
from tetrad_rollout.engine.core import BatchSettings
from tetrad_rollout.engine.protocol import Engine, GenerationRequest, RequestId, Sampling
from tetrad_telemetry.logs import configure


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One batch."""

    name: str
    model: Path
    num_prompts: int
    num_samples: int
    """Of each prompt."""
    num_tokens: int
    """Of each sample, exactly."""
    prompt_length: int

    @property
    def total(self) -> int:
        """Sampled tokens of a batch."""
        return self.num_prompts * self.num_samples * self.num_tokens

    def prompts(self, vocabulary: int) -> list[npt.NDArray[np.int32]]:
        """Any tokens will do: time does not depend on them."""
        draw = np.random.default_rng(0).integers
        return [draw(3, vocabulary, self.prompt_length, dtype=np.int32) for _ in range(self.num_prompts)]


DEMO_PROMPT_LENGTH: Final = 7
GRPO_PROMPT_LENGTH: Final = 55


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of a forward pass (default %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (default %(default)s)")
    arguments = parser.parse_args()
    # Read when torch is imported, which is later.
    os.environ.update({"OMP_NUM_THREADS": str(arguments.threads), "OMP_WAIT_POLICY": "PASSIVE"})
    configure(service="benchmark", level="error")
    metrics: dict[str, float] = {"threads_count": arguments.threads}
    for shape in shapes():
        metrics |= asyncio.run(measure(shape, rounds=arguments.rounds, num_threads=arguments.threads))
    path = write_results("engine", metrics, packages=("torch", "transformers"), folder=arguments.results)
    print(path.read_text(encoding="utf-8"))


def shapes() -> list[Shape]:
    """What is measured."""
    return [
        Shape(
            name="demo",
            model=Path(asset("demo/warm_start")),
            num_prompts=32,
            num_samples=8,
            num_tokens=4,
            prompt_length=DEMO_PROMPT_LENGTH,
        ),
        Shape(
            name="llama_16m",
            model=random_llama(),
            num_prompts=8,
            num_samples=4,
            num_tokens=64,
            prompt_length=GRPO_PROMPT_LENGTH,
        ),
    ]


async def measure(shape: Shape, *, rounds: int, num_threads: int) -> dict[str, float]:
    """Let both sides generate the same batch in turns."""
    batch = BatchSettings(max_num_seqs=shape.num_prompts * shape.num_samples)
    engine = create_engine("transformers", EngineSettings(model_path=shape.model, num_threads=num_threads, batch=batch))
    peer = HuggingFace(shape, num_threads=num_threads)
    try:
        ours, theirs = [], []
        for number in range(rounds + 1):
            ours.append(await by_the_engine(engine, shape, peer.prompts, turn=number))
            theirs.append(await asyncio.to_thread(peer.generate))
    finally:
        await engine.close()
    # The first round is a warm-up.
    ours, theirs = ours[1:], theirs[1:]
    return {
        f"{shape.name}_engine_tokens_per_s": shape.total / statistics.median(ours),
        f"{shape.name}_generate_tokens_per_s": shape.total / statistics.median(theirs),
        f"{shape.name}_tokens_per_s_ratio_to_generate": statistics.median(
            peers / own for own, peers in zip(ours, theirs, strict=True)
        ),
    }


async def by_the_engine(engine: Engine, shape: Shape, prompts: list[npt.NDArray[np.int32]], *, turn: int) -> float:
    """Seconds of one batch, submitted group by group as leases are."""
    sampling = Sampling(max_new_tokens=shape.num_tokens, ignore_eos=True)
    requests = [
        GenerationRequest(
            request_id=RequestId(f"{turn}-{number}"),
            prompt_ids=prompt,
            seeds=tuple(range(number * shape.num_samples, (number + 1) * shape.num_samples)),
            sampling=sampling,
        )
        for number, prompt in enumerate(prompts)
    ]
    started = time.perf_counter()
    groups = await asyncio.gather(*(engine.generate(request) for request in requests))
    seconds = time.perf_counter() - started
    assert sum(len(sample.token_ids) for group in groups for sample in group) == shape.total
    return seconds


class HuggingFace:
    """The same model under `generate`."""

    def __init__(self, shape: Shape, *, num_threads: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(num_threads)
        self._torch = torch
        self._shape = shape
        self._num_threads = num_threads
        self._model: Any = AutoModelForCausalLM.from_pretrained(shape.model, dtype=torch.float32)
        self._model.train(mode=False)
        # Nothing ends a sample early, and no processor is needed to see to it.
        self._model.generation_config.eos_token_id = None
        self.prompts = shape.prompts(self._model.config.vocab_size)
        self._ids = torch.from_numpy(np.stack(self.prompts).astype(np.int64))

    def generate(self) -> float:
        """Seconds of one batch."""
        self._torch.set_num_threads(self._num_threads)
        shape = self._shape
        started = time.perf_counter()
        with self._torch.inference_mode():
            output = self._model.generate(
                self._ids,
                attention_mask=self._torch.ones_like(self._ids),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                max_new_tokens=shape.num_tokens,
                num_return_sequences=shape.num_samples,
                pad_token_id=0,
            )
        seconds = time.perf_counter() - started
        assert output.shape[1] - self._ids.shape[1] == shape.num_tokens
        return seconds


if __name__ == "__main__":
    main()
