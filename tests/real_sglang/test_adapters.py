"""Adapters alone: the server keeps its base, and serves one adapter after the other on top of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from sglang_site.builders import DTYPE, IS_ON_GPU, LOGPROB_TOLERANCE, exact_model, model, weights
from sglang_site.servers import settings_of
from sglang_site.servers import start as start_server
from transformers import LlamaForCausalLM
from unit.rollout.engine_builders import a_request, reference_logprobs

from tetrad_rollout.engine.errors import LayoutError, ProbeFailedError, WeightStateError
from tetrad_rollout.engine.protocol import WeightLayout
from tetrad_rollout.engine.server_options import AdapterOptions
from tetrad_rollout.engine.sglang.engine import SglangEngine
from tetrad_rollout.engine.sglang.server import Server
from tetrad_rollout.engine.sglang.weights import ServedWeights, _plain, model_layout
from tetrad_rollout.engine.update import switch_weights
from tetrad_weights import Bytes, Parameter, build, lay_out
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.weights import AdapterSpec, Manifest

pytestmark = [pytest.mark.sglang, pytest.mark.asyncio(loop_scope="session")]

RANK, ALPHA = 4, 8.0
# On a CPU SGLang pads the MLP of a model this small, and has no room in it for adapters of the model's own shape.
MLP = ("gate_proj", "up_proj", "down_proj") if IS_ON_GPU else ()
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", *MLP)
OPTIONS = AdapterOptions(rank=RANK, target_modules=LAYERS)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lora_server(folder: Path) -> AsyncIterator[Server]:
    # The other tests' server has its metrics in this process already, and names may be there once.
    started = start_server(folder, adapters=OPTIONS, extra={"enable_metrics": False})
    yield started
    started.close()


@pytest.fixture
def engine(folder: Path, lora_server: Server) -> SglangEngine:
    settings = settings_of(folder, adapters=OPTIONS)
    served = ServedWeights(lora_server, settings=settings, is_on_gpu=IS_ON_GPU)
    return SglangEngine(lora_server, served, settings=settings, decode=None)


def adapted(seed: int) -> PeftModel:
    """The base with adapters that change it much, in the engine's number format."""
    base = LlamaForCausalLM(model(0).config).to(getattr(torch, DTYPE))
    base.load_state_dict(model(0).state_dict())
    wrapped = get_peft_model(base, LoraConfig(r=RANK, lora_alpha=int(ALPHA), target_modules=list(LAYERS)))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parameter.data = (0.15 * torch.randn(parameter.shape, generator=generator)).to(getattr(torch, DTYPE))
    return wrapped


@cache
def merged(seed: int) -> LlamaForCausalLM:
    """What peft makes of base and adapters, in float64."""
    whole: LlamaForCausalLM = adapted(seed).double().merge_and_unload()
    return whole.eval()


def base_digest(folder: Path) -> str:
    layout = model_layout(folder, DTYPE)
    parameters = dict(model(0).named_parameters())
    return build(layout, filled(layout, parameters)).digest


def filled(layout: WeightLayout, tensors: dict[str, torch.Tensor]) -> Bytes:
    buffer: Bytes = np.zeros(layout.num_bytes, np.uint8)
    for spec in layout.tensors:
        values = tensors[spec.name].detach().contiguous().reshape(-1).view(torch.uint8)
        buffer[spec.offset : spec.offset + spec.num_bytes] = values.numpy()
    return buffer


def version_of(seed: int, *, base: str) -> tuple[Manifest, Bytes]:
    """Adapters as a learner publishes them."""
    factors = get_peft_model_state_dict(adapted(seed))
    layout = lay_out(Parameter(name, DTYPE, tuple(factor.shape)) for name, factor in factors.items())
    buffer = filled(layout, factors)
    spec = AdapterSpec(base=base, rank=RANK, alpha=ALPHA, target_modules=LAYERS)
    return build(layout, buffer, adapter=spec), buffer


async def stage(engine: SglangEngine, seed: int, *, version: int, base: str) -> str:
    manifest, source = version_of(seed, base=base)
    buffer = engine.begin_stage(manifest, version=PolicyVersion(version))
    np.copyto(buffer, source)
    arrived = build(_plain(manifest), buffer, adapter=manifest.adapter)
    await engine.verify_stage(digest=manifest.digest, found=arrived.digest)
    return manifest.digest


async def switch(engine: SglangEngine, seed: int, *, version: int, base: str) -> str:
    digest = await stage(engine, seed, version=version, base=base)
    await switch_weights(engine, version=PolicyVersion(version), digest=digest)
    return digest


async def difference(engine: SglangEngine, served: LlamaForCausalLM) -> float:
    """The largest, between the engine's log-probs and those of a model."""
    request = a_request(prompt=(1, 7, 8), seeds=range(4), max_new_tokens=12)
    samples = await engine.generate(request)
    return max(
        float(np.abs(s.logprobs - reference_logprobs(served, request.prompt_ids, s.token_ids, 1.0)).max())
        for s in samples
    )


# Versions differ from test to test: the server keeps what the one before has loaded.
async def test_each_version_is_what_peft_merges_and_is_proved_by_its_digest(folder: Path, engine: SglangEngine) -> None:
    base, digests = base_digest(folder), []
    for version, seed in enumerate((1, 2, 1), start=1):
        digests.append(await switch(engine, seed, version=version, base=base))

        assert await engine.weights_digest() == digests[-1]
        assert engine.statistics().weights.is_certified
        assert await difference(engine, merged(seed)) < LOGPROB_TOLERANCE
        assert await difference(engine, merged(3 - seed)) > 2 * LOGPROB_TOLERANCE
        assert await difference(engine, exact_model(0)) > 2 * LOGPROB_TOLERANCE
    assert digests[0] == digests[2] != digests[1]


async def test_the_former_adapter_is_forgotten(folder: Path, engine: SglangEngine, lora_server: Server) -> None:
    base, held = base_digest(folder), []
    manifest, _source = version_of(1, base=base)
    shapes = {spec.name: spec.shape for spec in manifest.tensors}
    for version in (1, 2):
        await switch(engine, version, version=version, base=base)
        held.append(engine._weights.adapter)

    former, present = [await lora_server.held(shapes, algorithm=manifest.algorithm, adapter=name) for name in held]

    assert former == {}
    assert set(present) == set(shapes)


async def test_adapters_of_another_base_are_neither_certified_nor_served(folder: Path, engine: SglangEngine) -> None:
    base = base_digest(folder)
    await switch(engine, 1, version=11, base=base)

    with pytest.raises(ProbeFailedError, match=f"base has digest {base}; the adapters were trained on {'0' * 32}"):
        await switch(engine, 2, version=12, base="0" * 32)

    assert engine.statistics().weights.state == "quarantined"
    with pytest.raises(WeightStateError, match="not proven"):
        await engine.resume()
    waiting = asyncio.create_task(engine.generate(a_request(prompt=(1, 7, 8), max_new_tokens=4)))
    await switch(engine, 2, version=13, base=base)
    assert {span.version for sample in await waiting for span in sample.spans} == {13}
    assert await difference(engine, merged(2)) < LOGPROB_TOLERANCE


async def test_a_base_that_is_sent_instead_of_adapters_is_not_even_staged(folder: Path, engine: SglangEngine) -> None:
    await switch(engine, 1, version=21, base=base_digest(folder))
    frozen, _source = weights(0)

    with pytest.raises(LayoutError, match="takes adapters alone"):
        engine.begin_stage(frozen, version=PolicyVersion(22))

    assert await difference(engine, merged(1)) < LOGPROB_TOLERANCE
