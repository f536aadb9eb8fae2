"""Weights by CUDA IPC from another process into the real SGLang: nothing wrong is ever served."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import torch
from sglang_site.builders import IS_ON_GPU, LOGPROB_TOLERANCE, exact_model, weights
from sglang_site.exporting import Exporter, an_exporter
from sglang_site.servers import settings_of
from unit.rollout.engine_builders import a_request, reference_logprobs

from tetrad_rollout.engine.errors import DigestMismatchError, WeightStateError
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

COPY_WAITS_CYCLES = 10_000_000_000
"""Of the GPU's clock: some 5 s, in which the sender dies; the copy of these weights takes microseconds."""


@pytest_asyncio.fixture(loop_scope="session")
async def exporter() -> AsyncIterator[Exporter]:
    async with an_exporter() as there:
        yield there


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


async def test_a_sender_killed_while_it_writes_is_refused_before_and_after(
    engine: SglangEngine, exporter: Exporter
) -> None:
    await switch(engine, exporter, 1, version=1)
    manifest, handle = await exporter.offer(2, "half")
    with pytest.raises(TransportUnusableError):
        await engine.stage_from_device(handle, manifest, version=PolicyVersion(2))
    exporter.process.kill()
    await exporter.process.wait()

    # Death takes its lock away; half of the bytes are there.
    with pytest.raises((TransportUnusableError, DigestMismatchError)):
        await engine.stage_from_device(handle, manifest, version=PolicyVersion(2))

    await is_serving_the_former_and_takes_the_next(engine, manifest.digest)


async def test_a_sender_that_tears_and_dies_during_the_copy_is_never_served(
    engine: SglangEngine, exporter: Exporter
) -> None:
    # Until each of its buffers is mapped here.
    for version, seed in enumerate((1, 3, 1), start=1):
        await switch(engine, exporter, seed, version=version)
    manifest, handle = await exporter.offer(2, "tear")
    # What the copy is queued behind, on the same stream.
    torch.cuda._sleep(COPY_WAITS_CYCLES)

    staging = asyncio.create_task(engine.stage_from_device(handle, manifest, version=PolicyVersion(4)))
    await asyncio.sleep(0)  # it runs up to its copy
    assert engine.statistics().weights.state == "staging"
    exporter.tell(b"now")
    await exporter.process.wait()

    assert not staging.done(), "the copy was over before the sender died: COPY_WAITS_CYCLES is too small"
    with pytest.raises((TransportUnusableError, DigestMismatchError)):
        await staging
    await is_serving_the_former_and_takes_the_next(engine, manifest.digest)


async def is_serving_the_former_and_takes_the_next(engine: SglangEngine, refused: str) -> None:
    """Serves seed 1, cannot be made to serve seed 2, and goes on with seed 3, by way of the host."""
    with pytest.raises((WeightStateError, DigestMismatchError)):
        await switch_weights(engine, version=PolicyVersion(4), digest=refused)
    assert await is_serving(engine, 1)
    assert not await is_serving(engine, 2)
    manifest, source = weights(3)
    np.copyto(engine.begin_stage(manifest, version=PolicyVersion(5)), source)
    await engine.verify_stage(digest=manifest.digest)
    await switch_weights(engine, version=PolicyVersion(5), digest=manifest.digest)
    assert await is_serving(engine, 3)


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
