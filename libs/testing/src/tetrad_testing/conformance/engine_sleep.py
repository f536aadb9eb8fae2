"""The part of the engine suite that is about memory: released by `sleep`, taken back by `wake`, whole or in parts."""

from __future__ import annotations

import asyncio

import pytest

from tetrad_testing.conformance.engine_site import EngineSite, eventually
from tetrad_wire.ids import PolicyVersion


class SleepConformance:
    """Nothing is computed with memory that was given away."""

    async def test_sleep_is_refused_while_requests_are_in_flight(self, site: EngineSite) -> None:
        async with site.engine() as engine:
            await engine.pause()
            waiting = asyncio.create_task(engine.generate(site.a_request()))
            await eventually(lambda: engine.statistics().waiting_samples == 4)
            with pytest.raises(Exception, match="in flight"):
                await engine.sleep()
            await engine.resume()

            assert len(await waiting) == 4

    async def test_an_engine_that_slept_must_be_proven_again(self, site: EngineSite) -> None:
        async with site.engine() as engine:
            await site.switch(engine, 1, version=1)
            await engine.sleep(*site.what_survives)
            with pytest.raises(Exception, match="asleep"):
                await engine.generate(site.a_request())
            await engine.wake()
            assert not engine.statistics().weights.is_certified
            await engine.probe()

            assert engine.statistics().weights.is_certified
            assert len(await engine.generate(site.a_request())) == 4

    async def test_an_engine_that_slept_is_seeded_with_the_memory_of_its_weights_alone(self, site: EngineSite) -> None:
        request = site.a_request()

        async with site.engine() as engine:
            await site.switch(engine, 1, version=1)
            await engine.sleep()
            await engine.sleep()
            await engine.wake(site.weights_tags)
            digest = await site.stage(engine, 2, version=2)
            await engine.pause()
            await engine.commit(version=PolicyVersion(2), digest=digest)
            with pytest.raises(Exception, match="asleep"):
                await engine.generate(request)
            await engine.wake()
            await engine.wake()
            assert not engine.statistics().weights.is_certified
            await engine.probe()
            await engine.resume()
            samples = await engine.generate(request)

        for sample in samples:
            site.check_logprobs(sample, request, seed=2)

    async def test_sleep_gives_up_what_was_staged_and_not_committed(self, site: EngineSite) -> None:
        async with site.engine() as engine:
            await site.switch(engine, 1, version=1)
            digest = await site.stage(engine, 2, version=2)
            await engine.sleep()
            await engine.wake()
            await engine.pause()
            with pytest.raises(Exception, match="legal"):
                await engine.commit(version=PolicyVersion(2), digest=digest)
            await site.switch(engine, 3, version=3)

            assert engine.statistics().weights.is_certified

    async def test_awake_an_engine_needs_no_more_memory_than_is_there(self, site: EngineSite) -> None:
        async with site.engine() as engine:
            figures = engine.memory()

            assert engine.needed_to_wake(frozenset()) == 0
            assert figures.used > 0
            assert 0 < figures.free <= figures.total
