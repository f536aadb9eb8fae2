"""Weights by CUDA IPC from another process into the real SGLang: nothing wrong is ever served."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import pytest_asyncio
from sglang_site.builders import IS_ON_GPU, LOGPROB_TOLERANCE, exact_model
from sglang_site.servers import settings_of
from unit.rollout.engine_builders import a_request, reference_logprobs

from tetrad_rollout.engine.errors import DigestMismatchError
from tetrad_rollout.engine.sglang.engine import SglangEngine
from tetrad_rollout.engine.sglang.server import Server
from tetrad_rollout.engine.sglang.weights import ServedWeights
from tetrad_rollout.engine.update import switch_weights
from tetrad_weights.errors import TransportUnusableError
from tetrad_wire.ids import PolicyVersion

pytestmark = [
    pytest.mark.sglang,
    pytest.mark.gpu,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(not IS_ON_GPU, reason="CUDA IPC needs a GPU"),
]


class Exporter:
    """The other process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def offer(self, seed: int, fault: str = "") -> tuple[object, object]:
        from sglang_site.exporter import Export, Offer

        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(msgspec.json.encode(Export(seed, fault)) + b"\n")
        line = await asyncio.wait_for(self.process.stdout.readline(), 60)
        offer = msgspec.json.decode(line, type=Offer)
        return offer.manifest, offer.handle


@pytest_asyncio.fixture(loop_scope="session")
async def exporter() -> AsyncIterator[Exporter]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sglang_site.exporter"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
        env={**os.environ, "PYTHONPATH": f"tests:{os.environ.get('PYTHONPATH', '')}"},
    )
    yield Exporter(process)
    if process.returncode is None:
        process.kill()
    await process.wait()


@pytest.fixture
def engine(folder: Path, server: Server) -> SglangEngine:
    settings = settings_of(folder)
    weights = ServedWeights(server, settings=settings, is_on_gpu=True)
    return SglangEngine(server, weights, settings=settings, decode=None)


async def is_serving(engine: SglangEngine, seed: int) -> bool:
    request = a_request(prompt=(1, 7, 8), seeds=range(4), max_new_tokens=12)
    samples = await engine.generate(request)
    differences = [
        np.abs(sample.logprobs - reference_logprobs(exact_model(seed), request.prompt_ids, sample.token_ids, 1.0)).max()
        for sample in samples
    ]
    return bool(max(differences) < LOGPROB_TOLERANCE)


async def switch(engine: SglangEngine, exporter: Exporter, seed: int, *, version: int) -> str:
    manifest, handle = await exporter.offer(seed)
    await engine.stage_from_device(handle, manifest, version=PolicyVersion(version))
    await switch_weights(engine, version=PolicyVersion(version), digest=manifest.digest)
    return str(manifest.digest)


async def test_versions_follow_one_another_without_touching_the_host(engine: SglangEngine, exporter: Exporter) -> None:
    for version, seed in enumerate((1, 2, 3, 1), start=1):
        digest = await switch(engine, exporter, seed, version=version)
        assert await engine.weights_digest() == digest
        assert engine.statistics().weights.is_certified
        assert await is_serving(engine, seed)
        assert not await is_serving(engine, seed + 1)


@pytest.mark.parametrize("fault", ["flip", "skip"])
async def test_what_changed_after_its_digest_is_never_served(
    engine: SglangEngine, exporter: Exporter, fault: str
) -> None:
    await switch(engine, exporter, 1, version=1)
    manifest, handle = await exporter.offer(2, fault)

    with pytest.raises(DigestMismatchError, match="arrived with digest"):
        await engine.stage_from_device(handle, manifest, version=PolicyVersion(2))

    assert engine.statistics().weights.state == "quarantined"
    assert await is_serving(engine, 1)
    await switch(engine, exporter, 3, version=3)
    assert await is_serving(engine, 3)


async def test_memory_that_was_written_again_is_refused(engine: SglangEngine, exporter: Exporter) -> None:
    manifest, handle = await exporter.offer(1)
    for seed in (2, 3):
        await exporter.offer(seed)

    with pytest.raises(TransportUnusableError, match="written anew"):
        await engine.stage_from_device(handle, manifest, version=PolicyVersion(1))


async def test_a_sender_that_died_leaves_nothing_half_staged(engine: SglangEngine, exporter: Exporter) -> None:
    await switch(engine, exporter, 1, version=1)
    manifest, handle = await exporter.offer(2)
    exporter.process.send_signal(signal.SIGKILL)
    await exporter.process.wait()

    # Its memory is gone or still whole: either the version is had, digests and all, or it is refused.
    try:
        await engine.stage_from_device(handle, manifest, version=PolicyVersion(2))
    except (TransportUnusableError, DigestMismatchError):
        assert await is_serving(engine, 1)
    else:
        await switch_weights(engine, version=PolicyVersion(2), digest=manifest.digest)
        assert await is_serving(engine, 2)


async def test_a_slept_engine_comes_back_with_weights_only_after_a_commit(
    engine: SglangEngine, exporter: Exporter
) -> None:
    await switch(engine, exporter, 1, version=1)
    await engine.sleep()
    await engine.wake()

    # What came back is whatever lay there: it may not be certified.
    with pytest.raises(Exception, match=r"digest|finite|weights"):
        await engine.probe()
    await switch(engine, exporter, 2, version=2)

    assert await is_serving(engine, 2)
