"""The bare engine of `rollout.py`: no service, no episodes, no grading; token ids in, tokens and log-probs out.

With SGLang `sglang.Engine` itself, started with the very arguments that the rollout service gives it, and every sample
a request of its own in one `generate` call. Another backend is Tetrad's own engine without the service around it.

    python benchmarks/rollout_bare.py CONFIG

Takes orders as in `order_lines.py`: `input_ids`, `num_samples`, `num_tokens`; answers with a turn.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from order_lines import say
from rollout_turn import Turn

from tetrad_config import RunConfig, load_resolved
from tetrad_config.generator import Backend
from tetrad_rollout.engine.catalog import EngineSettings, create_engine
from tetrad_rollout.engine.protocol import FinishReason, GenerationRequest, RequestId, Sampling
from tetrad_rollout.engine_settings import engine_settings


def main() -> None:
    """Start, say so, and generate whatever comes in."""
    config = load_resolved(Path(sys.argv[1]))
    settings = engine_settings(config, model=Path(config.trainer.policy.model.path), is_colocated=False)
    if config.generator.backend is Backend.SGLANG:
        with_sglang(settings)
    else:
        asyncio.run(with_ours(config, settings))


def with_sglang(settings: EngineSettings) -> None:
    """Serve with `sglang.Engine`."""
    import sglang

    from tetrad_rollout.engine.sglang.arguments import server_arguments
    from tetrad_rollout.engine.sglang.server import capability, known_arguments

    arguments, _why = server_arguments(settings, known=known_arguments(), capability=capability())
    engine = sglang.Engine(**arguments)
    say({"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        prompts = [ids for ids in order["input_ids"] for _ in range(order["num_samples"])]
        sampling = {"temperature": 1.0, "max_new_tokens": order["num_tokens"]}
        started = time.perf_counter()
        outputs = engine.generate(input_ids=prompts, sampling_params=sampling, return_logprob=True)
        seconds = time.perf_counter() - started
        say(turn_of([output["meta_info"] for output in outputs], seconds).fields())
    engine.shutdown()


def turn_of(infos: list[dict[str, Any]], seconds: float) -> Turn:
    """What SGLang says of each request, added up."""
    prompt = sum(info["prompt_tokens"] for info in infos)
    return Turn(
        seconds=seconds,
        num_tokens=sum(info["completion_tokens"] for info in infos),
        full_share=sum(info["finish_reason"]["type"] == "length" for info in infos) / len(infos),
        cached_share=sum(info["cached_tokens"] for info in infos) / prompt,
    )


async def with_ours(config: RunConfig, settings: EngineSettings) -> None:
    """Serve with Tetrad's engine of that name."""
    engine = create_engine(config.generator.backend.value, settings)
    say({"ready": True})
    for number, line in enumerate(iter(sys.stdin.readline, "")):
        order = json.loads(line)
        samples = range(order["num_samples"])
        requests = [
            GenerationRequest(
                request_id=RequestId(f"{number}-{place}"),
                prompt_ids=np.array(ids, np.int32),
                seeds=tuple(place * len(samples) + sample for sample in samples),
                sampling=Sampling(max_new_tokens=order["num_tokens"]),
            )
            for place, ids in enumerate(order["input_ids"])
        ]
        before, started = engine.statistics().prompt_tokens, time.perf_counter()
        groups = await asyncio.gather(*(engine.generate(request) for request in requests))
        seconds = time.perf_counter() - started
        sampled = [sample for group in groups for sample in group]
        prompt = sum(request.prompt_ids.size for request in requests) * len(samples)
        turn = Turn(
            seconds=seconds,
            num_tokens=sum(len(sample.token_ids) for sample in sampled),
            full_share=sum(sample.finish_reason is FinishReason.LENGTH for sample in sampled) / len(sampled),
            cached_share=1.0 - (engine.statistics().prompt_tokens - before) / prompt,
        )
        say(turn.fields())
    await engine.close()


if __name__ == "__main__":
    main()
