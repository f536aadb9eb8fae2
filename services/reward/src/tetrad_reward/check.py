"""`--check`: tries the graders of a run in one worker process, without any socket."""

import asyncio

from tetrad_config import RewardSettings, RunConfig
from tetrad_reward.compose import grading_of
from tetrad_reward.requests import Failed
from tetrad_reward.service import Grading
from tetrad_reward.workers import Workers
from tetrad_runtime.exits import ConfigFault, ExitCode
from tetrad_runtime.wiring import wiring_problems
from tetrad_transport.keys import KeyRole


def check(settings: RewardSettings, config: RunConfig) -> int:
    """Say which graders were loaded; raises ConfigFault naming all that is wrong."""
    problems = wiring_problems(settings, KeyRole.REWARD)
    problems += asyncio.run(check_graders(grading_of(config)))
    if problems:
        raise ConfigFault("\n".join(problems))
    print(f"ok: {settings.name} grades {', '.join(grading_of(config).choice.known_references())}")
    return ExitCode.OK


async def check_graders(grading: Grading) -> list[str]:
    """Return what is wrong with the graders; empty where all can be loaded."""
    async with Workers(num_workers=1, limits=grading.limits) as workers:
        replies = [
            await workers.load(reference, reference=reference, config=grading.choice.settings_for(reference))
            for reference in grading.choice.known_references()
        ]
    return [reply.reason for reply in replies if isinstance(reply, Failed)]
