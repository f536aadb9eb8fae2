"""An engine that is sent the weights of another model by a real broadcaster does not try for ever."""

import asyncio

import pytest
from integration.weight_site import SOON_S, Site, a_site

from tetrad_rollout.engine import BatchSettings
from tetrad_rollout.engine.fake import FakeRunner, random_table
from tetrad_rollout.engine.threaded import ThreadedEngine
from tetrad_rollout.metrics import RolloutMetrics
from tetrad_rollout.occupation import OccupationClock
from tetrad_rollout.weight_keeper import MAX_MISFITS, WeightKeeper
from tetrad_runtime.exits import ConfigFault
from tetrad_telemetry.metrics import Metrics
from tetrad_testing.builders import a_desired
from tetrad_transport.membership import new_incarnation
from tetrad_wire.ids import Incarnation, PolicyVersion, RunId
from tetrad_wire.messages.membership import WantedWeights

pytestmark = pytest.mark.timeout(120)


async def test_an_engine_gives_up_with_a_configuration_fault_after_a_few_attempts_further_and_further_apart() -> None:
    async with a_site() as site:
        published = await site.publish(1)
        metrics = Metrics("rollout", version="0")
        engine = ThreadedEngine(
            FakeRunner(random_table(vocab_size=20, seed=0), eos_token_ids=(0,)), name="fake", settings=BatchSettings()
        )
        keeper = a_keeper(site, engine, metrics)
        wanted = WantedWeights(version=PolicyVersion(1), digest=published.digest, step=1)
        keeper.follow(a_desired(run=RunId(site.folder.name), broadcaster=site.endpoint, weights=wanted))
        began = asyncio.get_running_loop().time()

        try:
            with pytest.raises(ConfigFault, match=r"not of this engine's model.*missing: .*one trainer.policy.model"):
                await asyncio.wait_for(keeper.run(), SOON_S)
        finally:
            await engine.close()
            await keeper.close()

    assert keeper.certificate is None
    assert asyncio.get_running_loop().time() - began >= 0.5 + 1.0
    failed = 'tetrad_rollout_weight_updates_total{outcome="failed"}'
    assert f"{failed} {MAX_MISFITS}.0" in metrics.render().decode()
    reasons = 'tetrad_rollout_weight_update_failures_total{reason="layout"}'
    assert f"{reasons} {MAX_MISFITS}.0" in metrics.render().decode()


def a_keeper(site: Site, engine: ThreadedEngine, metrics: Metrics) -> WeightKeeper:
    return WeightKeeper(
        engine,
        site.transport,
        name="rollout-0",
        incarnation=Incarnation(new_incarnation()),
        timeout_s=30.0,
        on_change=lambda: None,
        observer=RolloutMetrics(metrics),
        clock=OccupationClock(),
    )
