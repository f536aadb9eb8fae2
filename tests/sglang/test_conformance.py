"""The real SGLang passes the suite of every engine. One server serves all tests: it takes half a minute to start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch
from numpy.typing import NDArray
from unit.rollout.engine_builders import (
    END_ID,
    a_llama,
    a_model_folder,
    a_request,
    a_tokenizer,
    reference_logprobs,
    weights_of,
)

import numpy as np
from tetrad_rollout.engine import BatchSettings, Engine, EngineSettings, GenerationRequest
from tetrad_rollout.engine.catalog import EngineName
from tetrad_rollout.engine.sglang.arguments import server_arguments
from tetrad_rollout.engine.sglang.engine import SglangEngine
from tetrad_rollout.engine.sglang.server import Server, capability, known_arguments
from tetrad_rollout.engine.sglang.weights import ServedWeights
from tetrad_rollout.engine.tokenizer import load_decode
from tetrad_weights import Bytes, Layout, Parameter, lay_out
from tetrad_wire.messages.weights import Manifest

pytest.register_assert_rewrite("tetrad_testing.conformance.engine")

from tetrad_testing.conformance.engine import EngineConformance  # noqa: E402 — after its asserts are rewritten
from tetrad_testing.conformance.engine_site import EngineSite, Ids  # noqa: E402

pytestmark = [pytest.mark.sglang, pytest.mark.asyncio(loop_scope="module")]

assert EngineName.SGLANG


class SglangSite(EngineSite):
    logprob_tolerance = 2e-4
    # The long one, because SGLang shares a prefix among requests that arrive together only above 32 tokens.
    prompts = ((1, 7, 8), (1, 9), (1, 10, 11, 12, 13), (1, 14, 15), (1, *range(6, 36)) * 3, (1, 16), (1, 17), (1, 18))
    eos_id = END_ID
    honours_seeds = False
    cache_policy_in_flight = "flush"

    def __init__(self, folder: Path, server: Server) -> None:
        self._folder = folder
        self._server = server
        self._tokenizer = a_tokenizer()
        self._model = cache(lambda seed: a_llama(seed=seed))
        self._exact_model = cache(lambda seed: a_llama(seed=seed).double())

    def start(self, *, is_deterministic: bool = False, max_num_seqs: int = 64) -> Engine:
        settings = EngineSettings(
            model_path=self._folder, batch=BatchSettings(is_deterministic=is_deterministic, max_num_seqs=max_num_seqs)
        )
        weights = ServedWeights(self._server, settings=settings, is_on_gpu=False)
        decode = load_decode(self._folder)
        return SglangEngine(_Shared(self._server), weights, settings=settings, decode=decode, report_every=2)

    @asynccontextmanager
    async def engine(self, *, is_deterministic: bool = False, max_num_seqs: int = 64) -> AsyncIterator[Engine]:
        """An engine of its own on the one server, which has the weights of seed 0 again."""
        settings = EngineSettings(model_path=self._folder)
        former = ServedWeights(self._server, settings=settings, is_on_gpu=False)
        await self.switch(SglangEngine(self._server, former, settings=settings, decode=None), 0, version=0)
        async with super().engine(is_deterministic=is_deterministic, max_num_seqs=max_num_seqs) as engine:
            yield engine

    def most_prefilled(self, *, prompt: int, num_samples: int) -> int:
        # The last token of a prompt is always computed, and those that arrive during the first forward do not share it.
        return 3 * prompt + num_samples

    def weights(self, seed: int) -> tuple[Manifest, Bytes]:
        model = self._model(seed)
        named = sorted(model.named_parameters(), reverse=True)
        layout: Layout = lay_out(Parameter(name, "float32", tuple(value.shape)) for name, value in named)
        return weights_of(model, layout)

    def reference(self, seed: int, *, prompt: Ids, tokens: Ids, temperature: float) -> NDArray[np.float32]:
        return reference_logprobs(self._exact_model(seed), prompt, tokens, temperature)

    def request(self, **fields: Any) -> GenerationRequest:
        return a_request(**fields)

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))


class _Shared:
    """A server that outlives the engine on it."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def close(self) -> None:
        """It is closed at the end of the module."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return a_model_folder(tmp_path_factory.mktemp("llama"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(folder: Path) -> AsyncIterator[Server]:
    settings = EngineSettings(model_path=folder, batch=BatchSettings(max_num_seqs=64))
    arguments, _why = server_arguments(settings, known=known_arguments(), capability=capability())
    started = Server.start(arguments)
    yield started
    started.close()


class TestSglang(EngineConformance):
    @pytest.fixture
    def site(self, folder: Path, server: Server) -> EngineSite:
        return SglangSite(folder, server)
