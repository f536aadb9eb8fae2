"""The broadcaster's own copies of versions on one GPU: the learner goes on, and the holder may die."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from gpu.gpu_place import GpuPlace
from integration.group_scenarios import children_of, events
from integration.weight_site import LARGE, SOON_S, Site, a_site, until

from tetrad_broadcaster.device_holder import DeviceHolder
from tetrad_devices.maps import DeviceMaps
from tetrad_devices.ring import DeviceRing, DeviceSegment
from tetrad_weights.attachments import attach
from tetrad_weights.errors import TransportUnusableError
from tetrad_weights.ring import SegmentRing
from tetrad_wire.ids import PolicyVersion

pytestmark = pytest.mark.timeout(600)

NUM_BYTES = 8 << 20
ONE, TWO, THREE = map(PolicyVersion, (1, 2, 3))


@pytest.fixture
def run() -> str:
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
async def holder() -> AsyncIterator[DeviceHolder]:
    holder = DeviceHolder(incarnation=secrets.token_hex(4), timeout_s=SOON_S)
    yield holder
    children = children_of(os.getpid(), "holder")
    holder.close()
    for pid in children:
        await until(lambda pid=pid: not is_there(pid), "the holder has ended")


@pytest.fixture
def learner(run: str) -> Iterator[DeviceRing]:
    ring = DeviceRing(device=torch.device("cuda", 0), run=run, incarnation="learner")
    yield ring
    ring.close()


def is_there(pid: int) -> bool:
    """Whether it runs, or its parent has yet to hear of its end."""
    return Path(f"/proc/{pid}").exists()


def written(ring: DeviceRing, value: int) -> DeviceSegment:
    """A version of the learner's, all of whose bytes are equal."""
    segment = ring.take(NUM_BYTES, pinned=())
    segment.buffer.fill_(value)
    segment.end_writing()
    return segment


async def cloned(holder: DeviceHolder, segment: DeviceSegment, version: PolicyVersion, *, run: str, kept=()) -> None:
    await holder.clone(version, segment.handle(), run=run, kept=(*kept, version))


async def on_host(holder: DeviceHolder, version: PolicyVersion, *, run: str) -> np.ndarray:
    """What it writes into a segment of ours."""
    ring = SegmentRing(run=run, incarnation=secrets.token_hex(4))
    try:
        segment = ring.take(NUM_BYTES, pinned=())
        try:
            await holder.to_host(version, segment.handle)
        finally:
            segment.end_writing()
        with attach(segment.handle) as reading:
            return np.array(reading.payload)
    finally:
        ring.close()


async def test_a_copy_stays_as_it_was_when_the_learner_writes_its_memory_again(holder, learner, run) -> None:
    segment = written(learner, 7)
    await cloned(holder, segment, ONE, run=run)

    again = written(learner, 9)
    segment.buffer.fill_(9)
    torch.cuda.synchronize()
    await cloned(holder, again, TWO, run=run, kept=(ONE,))

    assert set(np.unique(await on_host(holder, ONE, run=run))) == {7}
    assert set(np.unique(await on_host(holder, TWO, run=run))) == {9}


async def test_a_copy_is_read_on_the_gpu_by_each_handle_that_is_made_of_it(holder, learner, run) -> None:
    await cloned(holder, written(learner, 7), ONE, run=run)

    for _ in range(2):
        maps = DeviceMaps()
        with maps.attach(await holder.export(ONE)) as bytes_there:
            assert bytes_there.numel() == NUM_BYTES
            assert bool((bytes_there == 7).all())
        maps.close()


async def test_a_version_that_is_not_kept_is_gone(holder, learner, run) -> None:
    await cloned(holder, written(learner, 1), ONE, run=run)
    await cloned(holder, written(learner, 2), TWO, run=run)

    assert set(np.unique(await on_host(holder, TWO, run=run))) == {2}
    with pytest.raises(TransportUnusableError, match="KeyError: 1"):
        await holder.export(ONE)


async def test_a_holder_that_dies_takes_its_copies_along_and_the_next_version_starts_another(
    holder, learner, run
) -> None:
    await cloned(holder, written(learner, 1), ONE, run=run)
    (pid,) = children_of(os.getpid(), "holder")

    os.kill(pid, signal.SIGKILL)
    await until(lambda: not is_there(pid), "the holder is dead")
    with pytest.raises(TransportUnusableError):
        await holder.export(ONE)

    await cloned(holder, written(learner, 3), THREE, run=run)
    assert set(np.unique(await on_host(holder, THREE, run=run))) == {3}


def holders_of(site: Site) -> list[int]:
    assert site.broadcaster is not None
    return children_of(site.broadcaster.pid, "holder")


async def test_an_engine_that_joins_late_has_a_version_of_the_gpu_in_host_memory_also_after_the_holder_has_died() -> (
    None
):
    async with a_site(layout=LARGE) as site:
        place = GpuPlace(site)
        first = await place.publish(1)
        late = await site.start_engine("rollout-0", transports="shared_memory")
        assert await late.fetch(1) == first.digest

        (pid,) = holders_of(site)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not is_there(pid), "the holder is dead")
        # Its host copy is the broadcaster's own.
        later = await site.start_engine("rollout-1", transports="shared_memory")
        assert await later.fetch(1) == first.digest

        second = await place.publish(2)
        assert await later.fetch(2) == second.digest
        assert len(holders_of(site)) == 1
        assert len(events(site, "version_not_relayed")) == 0
