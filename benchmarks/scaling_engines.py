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
