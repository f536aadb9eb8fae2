"""Rollout services on one GPU and on two: alone, side by side, and one whose engine is split over both."""

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine_models import endless
from rollout import import_transformers
from rollout_peers import a_config
from rollout_site import Site
from scaling_setting import Setting

from tetrad_config import RunConfig

ONE = "tokens_per_second_1_engine"


async def measure_engines(setting: Setting, _before: Mapping[str, float]) -> dict[str, float]:
    """One engine, and two at once with a batch each."""
    sites = [Site(f"engine-{n}", _config(setting), setting.folder / f"{n}", gpus=setting.gpu(n)) for n in range(2)]
    rates = await _rates(setting, sites, [[sites[0]], sites])
    one, two = (statistics.median(found) for found in rates)
    # Each turn with its neighbour.
    ratio = statistics.median(many / alone for alone, many in zip(*rates, strict=True))
    return {ONE: one, "tokens_per_second_2_engines": two, "engines_2_ratio_to_1_engine": ratio}


async def measure_split_engine(setting: Setting, before: Mapping[str, float]) -> dict[str, float]:
    """One engine over two GPUs, against what one on one GPU did; that is measured where it was not."""
    if setting.is_tiny:
        raise ValueError("tp2 needs two GPUs: other engines than SGLang are never split; leave it out")
    alone = before.get(ONE)
    found: dict[str, float] = {}
    if alone is None:
        site = Site("engine-0", _config(setting), setting.folder / "one", gpus=setting.gpu(0))
        alone = found[ONE] = statistics.median((await _rates(setting, [site], [[site]]))[0])
    split = Site("split", _config(setting, size=2), setting.folder / "split", gpus=",".join(setting.gpus[:2]))
    rate = statistics.median((await _rates(setting, [split], [[split]]))[0])
    return found | {"tokens_per_second_tp_2": rate, "tp_2_ratio_to_1_engine": rate / alone}


async def _rates(setting: Setting, sites: Sequence[Site], sides: Sequence[Sequence[Site]]) -> list[list[float]]:
    """Tokens a second of each side in each turn; sides take turns, the first turn of each is a warm-up."""
    rates: list[list[float]] = [[] for _ in sides]
    import_transformers()
    try:
        await asyncio.gather(*(site.start(timeout_s=setting.clock.left_s) for site in sites))
        setting.clock.say(f"{', '.join(site.name for site in sites)}: ready")
        for turn in range(setting.rounds + 1):
            for number, side in enumerate(sides):
                rate = await _rate(setting, side, turn=turn * len(sides) + number)
                setting.clock.say(f"turn {turn}, {len(side)} engines: {rate:,.0f} tokens/s")
                if turn > 0:
                    rates[number].append(rate)
    finally:
        await asyncio.gather(*(site.close() for site in sites), return_exceptions=True)
    return rates


async def _rate(setting: Setting, side: Sequence[Site], *, turn: int) -> float:
    """All tokens by the time until the last of them."""
    messages = setting.batch.messages(turn)
    began = time.perf_counter()
    done = await asyncio.gather(*(site.play(setting.batch, messages, timeout_s=setting.clock.left_s) for site in side))
    return sum(one.num_tokens for one in done) / (time.perf_counter() - began)


def _config(setting: Setting, *, size: int = 1) -> RunConfig:
    batch = setting.batch
    config = a_config(
        _model(setting),
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
