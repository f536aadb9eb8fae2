"""The real SGLang passes the suite of every engine. One server serves all tests: it takes half a minute to start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sglang_site import builders
from sglang_site.servers import settings_of
from unit.rollout.engine_builders import END_ID, VOCABULARY, a_request, a_tokenizer, reference_logprobs

from tetrad_rollout.engine import BatchSettings, Engine, GenerationRequest
from tetrad_rollout.engine.protocol import MemoryTag
from tetrad_rollout.engine.sglang.engine import SglangEngine
from tetrad_rollout.engine.sglang.server import Server
from tetrad_rollout.engine.sglang.weights import ServedWeights
from tetrad_rollout.engine.tokenizer import load_decode
from tetrad_weights import Bytes
from tetrad_wire.messages.weights import Manifest

pytest.register_assert_rewrite("tetrad_testing.conformance.engine")

from tetrad_testing.conformance.engine import EngineConformance  # noqa: E402 — after its asserts are rewritten
from tetrad_testing.conformance.engine_site import EngineSite, Ids  # noqa: E402

pytestmark = [pytest.mark.sglang, pytest.mark.asyncio(loop_scope="session")]


class SglangSite(EngineSite):
    logprob_tolerance = builders.LOGPROB_TOLERANCE
    # One long enough to be shared.
    prompts = ((1, 7, 8), (1, 9), (1, 10, 11, 12, 13), (1, 14, 15), (1, *range(6, 36)) * 3, (1, 16), (1, 17), (1, 18))
    eos_id = END_ID
    vocab_size = VOCABULARY
    weights_tags = frozenset({MemoryTag.WEIGHTS})
    honours_seeds = False
    what_survives = (frozenset({MemoryTag.KV_CACHE}),)
    cache_policy_in_flight = "flush"

    def __init__(self, folder: Path, server: Server) -> None:
        self._folder = folder
        self._server = server
        self._tokenizer = a_tokenizer()

    def start(self, *, is_deterministic: bool = False, max_num_seqs: int = 64) -> Engine:
        batch = BatchSettings(is_deterministic=is_deterministic, max_num_seqs=max_num_seqs)
        settings = settings_of(self._folder, batch=batch)
        weights = ServedWeights(self._server, settings=settings, is_on_gpu=builders.IS_ON_GPU)
        decode = load_decode(self._folder)
        return SglangEngine(_Shared(self._server), weights, settings=settings, decode=decode, report_every=2)

    @asynccontextmanager
    async def engine(self, *, is_deterministic: bool = False, max_num_seqs: int = 64) -> AsyncIterator[Engine]:
        """An engine of its own on the one server, which has the weights of seed 0 again."""
        await self.switch(self.start(), 0, version=0)
        async with super().engine(is_deterministic=is_deterministic, max_num_seqs=max_num_seqs) as engine:
            yield engine

    def most_prefilled(self, *, prompt: int, num_samples: int) -> int:
        # The last token of a prompt is always computed.
        return prompt + num_samples - 1

    def weights(self, seed: int) -> tuple[Manifest, Bytes]:
        return builders.weights(seed)

    def reference(self, seed: int, *, prompt: Ids, tokens: Ids, temperature: float) -> NDArray[np.float32]:
        return reference_logprobs(builders.exact_model(seed), prompt, tokens, temperature)

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


class TestSglang(EngineConformance):
    @pytest.fixture
    def site(self, folder: Path, server: Server) -> EngineSite:
        return SglangSite(folder, server)
