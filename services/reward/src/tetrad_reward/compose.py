"""Composition root of a reward replica: from settings and run file to the parts that serve."""

import asyncio

from tetrad_config import RewardSettings, RunConfig
from tetrad_reward.choice import Choice
from tetrad_reward.registry import WEIGHTED_SUM
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
        edition=settings.edition,
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
    settings = settings_of(config)
    sum_of = [
        {
            "name": function.score_name,
            "reference": function.fn,
            "weight": function.weight,
            "config": settings.get(function.fn, {}),
        }
        for function in config.reward.functions
    ]
    return Grading(
        choice=Choice(
            implementation=WEIGHTED_SUM if sum_of else config.reward.implementation,
            env_class=config.environment.env_class,
            settings={**settings, WEIGHTED_SUM: {"functions": sum_of}},
        ),
        num_workers=config.reward.num_workers,
        limits=WorkerLimits(deadline_s=config.reward.grade_timeout),
    )


def settings_of(config: RunConfig) -> dict[str, dict[str, object]]:
    """Return the settings of environments by name: ours, those of skyrl-gym, and those of a class of the user's."""
    environment = config.environment
    sections = {
        "code": environment.code,
        "gsm8k": environment.gsm8k,
        "llm_judge": environment.llm_judge,
        "math": environment.math,
        "multiply": environment.multiply,
        "reasoning_gym": environment.reasoning_gym,
        "search": environment.skyrl_gym.search,
        "searchcode": environment.skyrl_gym.search,
        "text2sql": environment.skyrl_gym.text2sql,
    }
    settings: dict[str, dict[str, object]] = {name: one.model_dump(mode="json") for name, one in sections.items()}
    # Model and URL stand where SkyRL has them.
    settings["llm_judge"] |= environment.skyrl_gym.llm_as_a_judge.model_dump(mode="json")
    settings["llm_as_a_judge"] = settings["llm_judge"]
    if environment.env_config:
        settings[config.reward.implementation or environment.env_class] = dict(environment.env_config)
    return settings
