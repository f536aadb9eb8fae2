"""`keep`: an update leaves the cache as it is, and nothing computed with older weights is read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sglang_site.builders import IS_ON_GPU, LOGPROB_TOLERANCE, exact_model, weights
from sglang_site.servers import settings_of
from unit.rollout.engine_builders import a_request, reference_logprobs

from tetrad_rollout.engine.protocol import CachePolicy
from tetrad_rollout.engine.sglang.engine import SglangEngine
from tetrad_rollout.engine.sglang.server import Server
from tetrad_rollout.engine.sglang.weights import ServedWeights
from tetrad_rollout.engine.update import switch_weights
from tetrad_wire.ids import PolicyVersion

pytestmark = [pytest.mark.sglang, pytest.mark.asyncio(loop_scope="session")]

PROMPT = (1, *range(6, 36)) * 3


@pytest.mark.parametrize("policy", CachePolicy)
async def test_a_prompt_of_the_version_before_is_computed_anew(
    folder: Path, server: Server, policy: CachePolicy
) -> None:
    settings = settings_of(folder, cache_policy=policy)
    engine = SglangEngine(
        server, ServedWeights(server, settings=settings, is_on_gpu=IS_ON_GPU), settings=settings, decode=None
    )
    request = a_request(prompt=PROMPT, seeds=(1,), max_new_tokens=8)
    prefilled = []
    for version, seed in enumerate((0, 1), start=1):
        manifest, source = weights(seed)
        np.copyto(engine.begin_stage(manifest, version=PolicyVersion(version)), source)
        await engine.verify_stage(digest=manifest.digest)
        report, _probe = await switch_weights(engine, version=PolicyVersion(version), digest=manifest.digest)

        before = engine.statistics().prompt_tokens
        (sample,) = await engine.generate(request)
        prefilled.append(engine.statistics().prompt_tokens - before)
        expected = reference_logprobs(exact_model(seed), request.prompt_ids, sample.token_ids, 1.0)

        assert report.cache_policy is policy
        assert np.abs(sample.logprobs - expected).max() <= LOGPROB_TOLERANCE
    assert prefilled == [len(PROMPT), len(PROMPT)]
