"""Every engine passes one suite."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from unit.rollout.engine_builders import (
    END_ID,
    VOCABULARY,
    a_llama,
    a_model_folder,
    a_request,
    a_tokenizer,
    reference_logprobs,
    weights_of,
)

from tetrad_rollout.engine import BatchSettings, Engine, EngineSettings, GenerationRequest, create_engine
from tetrad_rollout.engine.fake import TABLE, FakeRunner, Faults, random_table
from tetrad_rollout.engine.protocol import MemoryTag
from tetrad_rollout.engine.threaded import ThreadedEngine
from tetrad_weights import Bytes, Layout, Parameter, build, lay_out
from tetrad_wire.messages.weights import Manifest

pytest.register_assert_rewrite("tetrad_testing.conformance.engine", "tetrad_testing.conformance.engine_sleep")

from tetrad_testing.conformance.engine import EngineConformance  # noqa: E402 — after its asserts are rewritten
from tetrad_testing.conformance.engine_site import EngineSite, Ids  # noqa: E402

FAKE_VOCABULARY = 20


class FakeSite(EngineSite):
    prompts = ((1, 2, 3), (4,), (5, 6), (7, 8, 9, 10), (11, 12), (13,), (14, 15, 16), (17, 18))
    eos_id = 0
    vocab_size = FAKE_VOCABULARY
    weights_tags = frozenset({MemoryTag.WEIGHTS})

    def start(self, *, is_deterministic: bool = False, max_num_seqs: int = 64) -> Engine:
        # Slow enough that a long request is still running when a test wants it to be.
        faults = Faults(token_latency_s=0.001)
        runner = FakeRunner(self._table(0), eos_token_ids=(self.eos_id,), faults=faults)
        settings = BatchSettings(is_deterministic=is_deterministic, max_num_seqs=max_num_seqs)
        return ThreadedEngine(runner, name="fake", settings=settings, decode=self.decode)

    def weights(self, seed: int) -> tuple[Manifest, Bytes]:
        layout = lay_out([Parameter(TABLE, "float32", (FAKE_VOCABULARY, FAKE_VOCABULARY))])
        buffer = self._table(seed).reshape(-1).view(np.uint8)
        return build(layout, buffer), buffer

    def reference(self, seed: int, *, prompt: Ids, tokens: Ids, temperature: float) -> NDArray[np.float32]:
        before = np.concatenate([prompt[-1:], tokens[:-1]])
        logits = self._table(seed)[before].astype(np.float64) / (temperature or 1.0)
        logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return logprobs[np.arange(len(tokens)), tokens].astype(np.float32)

    def request(self, **fields: Any) -> GenerationRequest:
        return a_request(**fields)

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(chr(ord("a") + token) for token in tokens)

    def _table(self, seed: int) -> NDArray[np.float32]:
        return random_table(vocab_size=FAKE_VOCABULARY, seed=seed, scale=1.5)


class TransformersSite(EngineSite):
    prompts = ((1, 7, 8), (1, 9), (1, 10, 11, 12, 13), (1, 14, 15), (1, *range(6, 30)), (1, 16), (1, 17), (1, 18))
    eos_id = END_ID
    vocab_size = VOCABULARY
    weights_tags = frozenset({MemoryTag.WEIGHTS})

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokenizer = a_tokenizer()
        self._model = cache(lambda seed: a_llama(seed=seed))
        # In float64, so that the tolerance is spent on the engine's rounding alone.
        self._exact_model = cache(lambda seed: a_llama(seed=seed).double())

    def start(self, *, is_deterministic: bool = False, max_num_seqs: int = 64) -> Engine:
        batch = BatchSettings(is_deterministic=is_deterministic, max_num_seqs=max_num_seqs)
        return create_engine("transformers", EngineSettings(model_path=self._folder, batch=batch))

    def weights(self, seed: int) -> tuple[Manifest, Bytes]:
        model = self._model(seed)
        # Not the engine's own order of the parameters: a layout is the learner's business.
        named = sorted(model.named_parameters(), reverse=True)
        layout: Layout = lay_out(Parameter(name, "float32", tuple(value.shape)) for name, value in named)
        return weights_of(model, layout)

    def reference(self, seed: int, *, prompt: Ids, tokens: Ids, temperature: float) -> NDArray[np.float32]:
        return reference_logprobs(self._exact_model(seed), prompt, tokens, temperature)

    def request(self, **fields: Any) -> GenerationRequest:
        return a_request(**fields)

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=False))


class TestFake(EngineConformance):
    @pytest.fixture
    def site(self) -> EngineSite:
        return FakeSite()


@pytest.fixture(scope="module")
def transformers_site(tmp_path_factory: pytest.TempPathFactory) -> TransformersSite:
    torch.set_num_threads(1)
    return TransformersSite(a_model_folder(tmp_path_factory.mktemp("llama")))


class TestTransformers(EngineConformance):
    @pytest.fixture
    def site(self, transformers_site: TransformersSite) -> EngineSite:
        return transformers_site
