"""One engine over two GPUs, or on a CPU over two processes: what all of it holds is proved, shard by shard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import torch
from sglang_site.builders import IS_ON_GPU, LOGPROB_TOLERANCE, exact_model, weights
from sglang_site.servers import settings_of
from sglang_site.servers import start as start_server
from unit.rollout.engine_builders import a_request, reference_logprobs

from tetrad_rollout.engine.errors import ProbeFailedError
from tetrad_rollout.engine.sglang.engine import SglangEngine
from tetrad_rollout.engine.sglang.server import Server
from tetrad_rollout.engine.sglang.stage import Stage
from tetrad_rollout.engine.sglang.weights import ServedWeights
from tetrad_rollout.engine.update import commit_weights, switch_weights
from tetrad_weights import Bytes
from tetrad_wire.ids import PolicyVersion

SIZE = 2
pytestmark = [
    pytest.mark.sglang,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(
        IS_ON_GPU and torch.cuda.device_count() < SIZE,
        reason=f"needs {SIZE} GPUs, or none; torch.cuda.device_count() is {torch.cuda.device_count()}",
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def split_server(folder: Path) -> AsyncIterator[Server]:
    """SGLang wants to know which cores its processes on a CPU may use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGLANG_CPU_OMP_THREADS_BIND", "|".join(map(str, range(SIZE))))
        # The other tests' server has its metrics in this process already, and names may be there once.
        server = start_server(folder, tensor_parallel_size=SIZE, extra={"enable_metrics": False})
    yield server
    server.close()


@pytest.fixture
def engine(folder: Path, split_server: Server) -> SglangEngine:
    settings = settings_of(folder, tensor_parallel_size=SIZE)
    served = ServedWeights(split_server, settings=settings, is_on_gpu=IS_ON_GPU)
    return SglangEngine(split_server, served, settings=settings, decode=None)


async def stage(engine: SglangEngine, seed: int, *, version: int) -> str:
    manifest, source = weights(seed)
    engine.begin_stage(manifest, version=PolicyVersion(version))[:] = source
    await engine.verify_stage(digest=manifest.digest)
    return manifest.digest


def payload(seed: int, *, other: tuple[str, int] | None = None) -> tuple[Stage, bytes]:
    """Weights of one seed as a scheduler reads them, those of some layers from another seed; keep the stage alive."""
    manifest, source = weights(seed)
    staged = Stage(is_on_gpu=IS_ON_GPU)
    buffer: Bytes = staged.begin(manifest)
    buffer[:] = source
    if other is not None:
        for spec in manifest.tensors:
            if other[0] in spec.name:
                part = slice(spec.offset, spec.offset + spec.num_bytes)
                buffer[part] = weights(other[1])[1][part] ^ 1
    staged.to_device()
    return staged, staged.payloads()[0]


async def is_serving(engine: SglangEngine, seed: int) -> bool:
    request = a_request(prompt=(1, 7, 8), seeds=range(4), max_new_tokens=12)
    samples = await engine.generate(request)
    differences = [
        np.abs(sample.logprobs - reference_logprobs(exact_model(seed), request.prompt_ids, sample.token_ids, 1.0)).max()
        for sample in samples
    ]
    return bool(max(differences) < LOGPROB_TOLERANCE)


async def test_versions_are_proved_whole_and_served_one_after_another(engine: SglangEngine) -> None:
    for version, seed in enumerate((1, 2, 1), start=1):
        digest = await stage(engine, seed, version=version)
        await switch_weights(engine, version=PolicyVersion(version), digest=digest)

        assert await engine.weights_digest() == digest
        assert engine.statistics().weights.is_certified
        assert await is_serving(engine, seed)
        assert not await is_serving(engine, seed + 1)


@pytest.mark.parametrize(
    ("layer", "complaint"),
    [("o_proj", r"o_proj.weight with digest [0-9a-f]{32}"), ("norm", "GPUs that should hold the same hold")],
)
async def test_one_shard_of_another_version_is_never_served(
    engine: SglangEngine, split_server: Server, layer: str, complaint: str
) -> None:
    digest = await stage(engine, 1, version=1)
    await commit_weights(engine, version=PolicyVersion(1), digest=digest)
    stages, payloads = zip(payload(1), payload(1, other=(layer, 2)), strict=True)
    await split_server.load_weights(payloads)
    assert len(stages) == SIZE

    with pytest.raises(ProbeFailedError, match=complaint):
        await engine.probe()

    assert engine.statistics().weights.state == "quarantined"
    digest = await stage(engine, 3, version=2)
    await switch_weights(engine, version=PolicyVersion(2), digest=digest)
    assert await is_serving(engine, 3)
