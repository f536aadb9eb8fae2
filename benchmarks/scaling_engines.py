"""Rollout services on one GPU and on two: alone, side by side, and one whose engine is split over both."""

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from engine_models import endless
from rollout import import_transformers
from rollout_peers import a_config
from rollout_site import Site
from rollout_turn import in_turns
from scaling_runs import run
from scaling_setting import Setting

from tetrad_config import RunConfig

SPLIT_SHAPE = "0.5b"
"""Random weights: the nine attention heads of SmolLM2-135M cannot be split in two, the 14 of this shape can."""


async def measure_engines(setting: Setting, _before: Mapping[str, float]) -> dict[str, float]:
    """One engine, and two at once with a batch each."""
    config = _config(setting, _model(setting))
    sites = [Site(f"engine-{n}", config, setting.folder / f"{n}", gpus=setting.gpu(n)) for n in range(2)]
    rates = await _rates(setting, sites, [[sites[0]], sites])
    one, two = (statistics.median(found) for found in rates)
    # Each turn with its neighbour.
    ratio = statistics.median(many / alone for alone, many in zip(*rates, strict=True))
    return {"tokens_per_second_1_engine": one, "tokens_per_second_2_engines": two, "engines_2_ratio_to_1_engine": ratio}


async def measure_split_engine(setting: Setting, _before: Mapping[str, float]) -> dict[str, float]:
    """One engine over two GPUs against one on one GPU."""
    if setting.is_tiny:
        raise ValueError("tp2 needs two GPUs: other engines than SGLang are never split; leave it out")
    model = setting.models / f"random-{SPLIT_SHAPE}"
    await run(setting, ["engine_models.py", SPLIT_SHAPE, str(setting.model), str(model)])
    found = []
    # One after the other: SGLang refuses to split an engine over GPUs of which one has less memory free.
    for size, gpus in ((1, setting.gpu(0)), (2, ",".join(setting.gpus[:2]))):
        site = Site(f"over-{size}", _config(setting, model, size=size), setting.folder / f"{size}", gpus=gpus)
        found.append(statistics.median((await _rates(setting, [site], [[site]]))[0]))
    one, two = found
    return {
        f"tokens_per_second_{SPLIT_SHAPE}_1_engine": one,
        f"tokens_per_second_{SPLIT_SHAPE}_tp_2": two,
        "tp_2_ratio_to_1_engine": two / one,
    }


async def _rates(setting: Setting, sites: Sequence[Site], sides: Sequence[Sequence[Site]]) -> list[list[float]]:
    """Tokens a second of each side in each turn; sides take turns, the first turn of each is a warm-up."""
    import_transformers()
    try:
        await asyncio.gather(*(site.start(timeout_s=setting.clock.left_s) for site in sites))
        setting.clock.say(f"{', '.join(site.name for site in sites)}: ready")
        # No two sides have the same prompts in any turn: a site may play in both.
        players = [partial(_rate, setting, side, place=(n, len(sides))) for n, side in enumerate(sides)]
        return await in_turns(players, num_rounds=setting.rounds, left_s=lambda: setting.clock.left_s)
    finally:
        await asyncio.gather(*(site.close() for site in sites), return_exceptions=True)


async def _rate(setting: Setting, side: Sequence[Site], turn: int, *, place: tuple[int, int]) -> float:
    """All tokens by the time until the last of them; `place` is that of the side among how many."""
    number, num_sides = place
    messages = setting.batch.messages(turn * num_sides + number)
    began = time.perf_counter()
    done = await asyncio.gather(*(site.play(setting.batch, messages, timeout_s=setting.clock.left_s) for site in side))
    rate = sum(one.num_tokens for one in done) / (time.perf_counter() - began)
    setting.clock.say(f"turn {turn}, {len(side)} engines: {rate:,.0f} tokens/s")
    return rate


def _config(setting: Setting, model: Path, *, size: int = 1) -> RunConfig:
    batch = setting.batch
    config = a_config(
        model,
        backend="transformers" if setting.is_tiny else "sglang",
        attention="",
        folder=setting.folder,
        max_samples=batch.num_prompts * batch.num_samples,
        num_tokens=batch.num_tokens,
    )
    generator = config.generator.model_copy(update={"inference_engine_tensor_parallel_size": size})
    return config.model_copy(update={"generator": generator})


def _model(setting: Setting) -> Path:
    """A model that never ends a sample, so that all do the same work."""
    return setting.model if setting.is_tiny else endless(setting.model, setting.models / "smollm2-endless")
