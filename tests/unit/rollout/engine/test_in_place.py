"""Without room for a stage the live weights themselves are written over, and nothing is certified in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from unit.rollout.engine_builders import a_request

from tetrad_rollout.engine.core import BatchSettings
from tetrad_rollout.engine.errors import LayoutError, WeightStateError
from tetrad_rollout.engine.fake import TABLE, FakeRunner, Faults, random_table
from tetrad_rollout.engine.live_weights import MARGIN_BYTES
from tetrad_rollout.engine.threaded import ThreadedEngine
from tetrad_rollout.engine.update import overwrite_weights, switch_weights
from tetrad_weights import Bytes, Parameter, build, lay_out
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.weights import Manifest

SIZE = 20
NUM_BYTES = SIZE * SIZE * 4
ONE, TWO = PolicyVersion(1), PolicyVersion(2)


@dataclass
class Place:
    """An engine, and how many bytes its host has free."""

    free_bytes: int = 0
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        runner = FakeRunner(random_table(vocab_size=SIZE, seed=0), faults=Faults(token_latency_s=0.001))
        self.engine = ThreadedEngine(runner, name="fake", settings=BatchSettings(), free_bytes=lambda: self.free_bytes)

    async def overwrite(self, version: PolicyVersion, *, after: Callable[[Bytes], None] = lambda _buffer: None) -> str:
        """Write the weights of that number over the live ones; `after` hears of the buffer when half is there."""
        manifest, source = weights(version)

        async def fetch(begin: Callable[[Manifest], Bytes]) -> Manifest:
            buffer = begin(manifest)
            buffer[: NUM_BYTES // 2] = source[: NUM_BYTES // 2]
            after(buffer)
            np.copyto(buffer, source)
            return manifest

        await overwrite_weights(self.engine, fetch, version=version, on_begin=lambda: self.calls.append("began"))
        await switch_weights(self.engine, version=version, digest=manifest.digest)
        return manifest.digest


def weights(version: PolicyVersion) -> tuple[Manifest, Bytes]:
    buffer = random_table(vocab_size=SIZE, seed=version).reshape(-1).view(np.uint8)
    return build(lay_out([Parameter(TABLE, "float32", (SIZE, SIZE))]), buffer), buffer


def fail(_buffer: Bytes) -> None:
    raise ConnectionError("the sender died")


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    yield place
    await place.engine.close()


async def test_what_lacks_for_a_stage_is_told_in_bytes_and_nothing_lacks_once_it_is_there(place: Place) -> None:
    place.free_bytes = NUM_BYTES + MARGIN_BYTES - 7
    before = place.engine.stage_shortage()
    place.free_bytes += 7
    with_room = place.engine.stage_shortage()

    place.engine.begin_stage(weights(ONE)[0], version=ONE)
    place.free_bytes = 0

    assert (before, with_room, place.engine.stage_shortage()) == (7, 0, 0)


async def test_a_version_takes_the_place_of_the_live_one_and_no_memory_but_its_own(place: Place) -> None:
    digest = await place.overwrite(ONE)
    status = place.engine.statistics().weights

    assert (status.live_version, status.live_digest, status.is_certified) == (ONE, digest, True)
    assert await place.engine.weights_digest() == digest
    assert place.engine.stage_shortage() == NUM_BYTES + MARGIN_BYTES


async def test_running_samples_wait_and_go_on_with_the_new_weights(place: Place) -> None:
    has_tokens = asyncio.Event()
    request = a_request(prompt=[1], max_new_tokens=400)
    running = asyncio.create_task(place.engine.generate(request, lambda _progress: has_tokens.set()))
    await asyncio.wait_for(has_tokens.wait(), 5)

    await place.overwrite(ONE)

    samples = await asyncio.wait_for(running, 30)
    assert [[span.version for span in sample.spans][-1] for sample in samples] == [ONE] * len(samples)


async def test_an_engine_that_generates_is_not_written_over(place: Place) -> None:
    with pytest.raises(WeightStateError, match="pause"):
        place.engine.begin_in_place(weights(ONE)[0], version=ONE)


async def test_a_transfer_that_breaks_leaves_it_paused_and_uncertified_until_a_whole_one_came(place: Place) -> None:
    await place.overwrite(ONE)
    with pytest.raises(ConnectionError):
        await place.overwrite(TWO, after=fail)
    broken = place.engine.statistics()
    waiting = asyncio.create_task(place.engine.generate(a_request(prompt=[1])))
    with pytest.raises(WeightStateError, match="version 2 was written over the live weights"):
        await place.engine.resume()

    digest = await place.overwrite(TWO)

    assert (broken.is_paused, broken.weights.state, broken.weights.is_certified) == (True, "replacing", False)
    assert broken.weights.live_digest == ""
    assert place.engine.statistics().weights.live_digest == digest
    samples = await asyncio.wait_for(waiting, 5)
    assert {span.version for sample in samples for span in sample.spans} == {TWO}


async def test_bytes_that_are_not_what_they_should_be_quarantine_it(place: Place) -> None:
    manifest, _source = weights(ONE)
    await place.engine.pause()
    place.engine.begin_in_place(manifest, version=ONE)[:] = 0

    with pytest.raises(Exception, match=manifest.digest):
        await place.engine.verify_stage(digest=manifest.digest)

    assert place.engine.statistics().weights.state == "quarantined"
    with pytest.raises(WeightStateError):
        await place.engine.resume()


async def test_a_transfer_that_never_begins_costs_nothing(place: Place) -> None:
    digest = await place.overwrite(ONE)

    async def fetch(_begin: Callable[[Manifest], Bytes]) -> Manifest:
        raise ConnectionError("nobody offers it")

    with pytest.raises(ConnectionError):
        await overwrite_weights(place.engine, fetch, version=TWO, on_begin=lambda: place.calls.append("began"))

    status = place.engine.statistics()
    assert (status.is_paused, status.weights.is_certified, status.weights.live_digest) == (False, True, digest)
    assert place.calls == ["began"]


async def test_a_stage_that_has_room_again_ends_what_broke(place: Place) -> None:
    with pytest.raises(ConnectionError):
        await place.overwrite(ONE, after=fail)
    manifest, source = weights(TWO)

    place.engine.begin_stage(manifest, version=TWO)[:] = source
    await place.engine.verify_stage(digest=manifest.digest)
    await switch_weights(place.engine, version=TWO, digest=manifest.digest)

    assert place.engine.statistics().weights.live_version == TWO


async def test_another_size_than_that_of_the_live_weights_is_refused(place: Place) -> None:
    manifest, _source = weights(ONE)
    larger = Manifest(
        algorithm=manifest.algorithm, tensors=manifest.tensors, num_bytes=NUM_BYTES + 64, digest=manifest.digest
    )
    await place.engine.pause()

    with pytest.raises(LayoutError, match=f"{NUM_BYTES + 64} bytes, the live weights {NUM_BYTES}"):
        place.engine.begin_in_place(larger, version=ONE)
