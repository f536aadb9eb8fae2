"""What SGLang counts is on the page of the rollout service."""

from __future__ import annotations

import asyncio
import runpy
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sglang_site.builders import IS_ON_GPU
from sglang_site.servers import settings_of
from unit.rollout.engine_builders import a_request

from tetrad_config import RolloutSettings, load
from tetrad_rollout import compose
from tetrad_rollout.engine.sglang.engine import REPORT_EVERY, SglangEngine
from tetrad_rollout.engine.sglang.server import Server
from tetrad_rollout.engine.sglang.weights import ServedWeights
from tetrad_rollout.rendering import Renderer, load_tokenizer
from tetrad_rollout.weights.links import Links
from tetrad_telemetry.exporter import serve
from tetrad_transport import ZmqTransport
from tetrad_transport.membership import new_incarnation

NAMES = Path(__file__).parents[2] / "tools" / "boards" / "sglang_names.py"
# The time between tokens is seen from one report of a sample to the next.
LONG = 3 * REPORT_EVERY

pytestmark = [pytest.mark.sglang, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture
def engine(folder: Path, server: Server) -> SglangEngine:
    settings = settings_of(folder)
    weights = ServedWeights(server, settings=settings, is_on_gpu=IS_ON_GPU)
    return SglangEngine(server, weights, settings=settings, decode=None)


async def test_tokens_are_counted_and_the_schedulers_gauges_are_there(engine: SglangEngine) -> None:
    def counted() -> dict[str, float]:
        families = text_string_to_metric_families(engine.exported_metrics().decode())
        return {sample.name: sample.value for family in families for sample in family.samples}

    before = counted().get("sglang:generation_tokens_total", 0.0)
    samples = await engine.generate(a_request(seeds=range(3), max_new_tokens=9, ignore_eos=True))
    after = counted()

    assert after["sglang:generation_tokens_total"] - before == sum(len(sample.token_ids) for sample in samples)
    assert "sglang:num_running_reqs" in after
    assert all(name.startswith("sglang") for name in after)


async def test_every_metric_that_a_board_asks_for_is_on_the_page_after_traffic(folder: Path, server: Server) -> None:
    settings = settings_of(folder)
    engine = SglangEngine(
        server, ServedWeights(server, settings=settings, is_on_gpu=IS_ON_GPU), settings=settings, decode=None
    )
    kinds: dict[str, str] = runpy.run_path(str(NAMES))["SGLANG_KINDS"]

    await engine.generate(a_request(seeds=range(2), max_new_tokens=LONG, ignore_eos=True))

    families = {one.name: one for one in text_string_to_metric_families(engine.exported_metrics().decode())}
    assert {name: families[name].type for name in kinds if name in families} == kinds
    observed = {sample.name: sample.value for name in kinds for sample in families[name].samples}
    assert all(observed[f"{name}_count"] > 0 for name, kind in kinds.items() if kind == "histogram")
    assert all(name in observed for name, kind in kinds.items() if kind == "gauge")


async def test_the_services_page_has_both_and_nothing_twice(folder: Path, tmp_path: Path, engine: SglangEngine) -> None:
    await engine.generate(a_request(seeds=range(3), max_new_tokens=9, ignore_eos=True))

    page = await the_services_page(folder, tmp_path, engine)

    names = [line.split()[2] for line in page.splitlines() if line.startswith("# TYPE ")]
    series = [line.rpartition(" ")[0] for line in page.splitlines() if line and not line.startswith("#")]
    families = list(text_string_to_metric_families(page))
    assert [name for name, times in Counter(names).items() if times > 1] == []
    assert [one for one, times in Counter(series).items() if times > 1] == []
    assert len({family.name for family in families}) == len(families)
    assert {"tetrad_rollout_inflight_samples", "sglang:num_running_reqs"} <= set(names)


async def the_services_page(folder: Path, tmp_path: Path, engine: SglangEngine) -> str:
    """As a scraper reads it, of a replica that is put together around the engine and has no coordinator."""
    config = load(["+experiment=demo", f"trainer.policy.model.path={folder}"], environ={}).config
    settings = RolloutSettings(run_dir=tmp_path, coordinator=f"ipc://{tmp_path}/coordinator")
    exporter, transport = compose._Exporter(), ZmqTransport()
    links = Links(settings, config, transport, new_incarnation())
    renderer = Renderer(load_tokenizer(folder), max_prompt_length=64, template_kwargs={})
    async with serve(exporter.pages()) as port:
        hello = compose._hello(settings, config, links.incarnation, port)
        exporter.parts = compose._parts(settings, config, engine, renderer, transport, hello, exporter, links)
        try:
            answer = await asyncio.to_thread(urllib.request.urlopen, hello.metrics_url, timeout=10)
            return str(answer.read().decode())
        finally:
            await links.close()
            transport.close()
