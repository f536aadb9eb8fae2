"""Composition root of a reward replica: from settings and run file to the parts that serve."""

import asyncio

from tetrad_config import RewardSettings, RunConfig
from tetrad_reward.choice import Choice
from tetrad_reward.service import Grading, Place, serve
from tetrad_reward.supply import WorkerLimits
from tetrad_runtime.exits import ExitCode
from tetrad_runtime.wiring import open_transport
from tetrad_transport.keys import KeyRole


async def serve_reward(settings: RewardSettings, config: RunConfig, drain: asyncio.Event) -> ExitCode:
    """Run one replica until it is asked to leave or the run is over."""
    place = Place(
        name=settings.name,
        bind=settings.bind,
        coordinator=settings.coordinator,
        metrics_host=settings.metrics_host,
        metrics_port=settings.metrics_port,
    )
    transport = open_transport(settings, KeyRole.REWARD)
    try:
        return await serve(transport, place, grading_of(config), stop=drain)
    finally:
        transport.close()


def grading_of(config: RunConfig) -> Grading:
    """Return what the run is graded with."""
    return Grading(
        choice=Choice(
            implementation=config.reward.implementation,
            env_class=config.environment.env_class,
            settings={"gsm8k": config.environment.gsm8k.model_dump(mode="json")},
        ),
        num_workers=config.reward.num_workers,
        limits=WorkerLimits(deadline_s=config.reward.grade_timeout),
    )
