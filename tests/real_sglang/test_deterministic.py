"""The engine of `generator.deterministic`: equal seeds give equal bits, whatever else is served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from sglang_site.builders import IS_ON_GPU, LOGPROB_TOLERANCE, exact_model, weights
from sglang_site.servers import settings_of, start
from unit.rollout.engine_builders import a_request, reference_logprobs

from tetrad_rollout.engine import BatchSettings
from tetrad_rollout.engine.protocol import GeneratedSample
from tetrad_rollout.engine.sglang.engine import SglangEngine
from tetrad_rollout.engine.sglang.weights import ServedWeights
from tetrad_rollout.engine.update import switch_weights
from tetrad_wire.ids import PolicyVersion

pytestmark = [
    pytest.mark.sglang,
    pytest.mark.gpu,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(not IS_ON_GPU, reason="SGLang's batch-invariant kernels need a GPU"),
]

BATCH = BatchSettings(max_num_seqs=64, is_deterministic=True)


@pytest_asyncio.fixture(loop_scope="session")
async def engine(folder: Path) -> AsyncIterator[SglangEngine]:
    server = start(folder, batch=BATCH)
    settings = settings_of(folder, batch=BATCH)
    served = ServedWeights(server, settings=settings, is_on_gpu=True)
    engine = SglangEngine(server, served, settings=settings, decode=None)
    manifest, source = weights(1)
    np.copyto(engine.begin_stage(manifest, version=PolicyVersion(1)), source)
    await engine.verify_stage(digest=manifest.digest)
    await switch_weights(engine, version=PolicyVersion(1), digest=manifest.digest)
    yield engine
    await engine.close()


async def test_equal_seeds_give_equal_bits_alone_and_among_others(engine: SglangEngine) -> None:
    async def group() -> list[GeneratedSample]:
        return await engine.generate(a_request(prompt=(1, 7, 8), seeds=(5, 6, 7), max_new_tokens=24))

    async def another(length: int) -> list[GeneratedSample]:
        return await engine.generate(a_request(prompt=(1, *range(6, 6 + length)), seeds=(length,), max_new_tokens=24))

    alone = await group()
    together, *_ = await asyncio.gather(group(), *(another(length) for length in range(2, 12)))

    assert len({sample.token_ids.tobytes() for sample in alone}) > 1
    for one, other in zip(alone, together, strict=True):
        assert one.token_ids.tobytes() == other.token_ids.tobytes()
        assert one.logprobs.tobytes() == other.logprobs.tobytes()
        expected = reference_logprobs(exact_model(1), np.array((1, 7, 8), np.int32), one.token_ids, 1.0)
        assert np.abs(one.logprobs - expected).max() < LOGPROB_TOLERANCE
