"""Environments of skyrl-gym, with the real package: a user's own class, and those that it knows by name."""

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("skyrl_gym", reason="the extra 'skyrl-gym' is not installed")

from tetrad_config import RunConfig
from tetrad_reward.compose import grading_of
from tetrad_reward.registry import load_grader
from tetrad_reward.requests import Loaded, Opened, Opening
from tetrad_reward.skyrl_gym_registry import NAMES
from tetrad_reward.supply import WorkerLimits
from tetrad_reward.workers import Workers
from tetrad_wire.messages.leases import ChatMessage

SQUARES = f"{Path(__file__).with_name('gym_environments.py')}:Squares"


async def test_a_class_of_ones_own_works_unchanged_in_a_worker():
    run = RunConfig.model_validate({"environment": {"env_class": SQUARES, "env_config": {"bonus": 2.0}}})
    config = grading_of(run).choice.settings_for(SQUARES)
    extras = {"reward_spec": {"ground_truth": "49"}, "max_turns": 3}
    opening = Opening(grader="mine", messages=(ChatMessage("user", "7 squared?"),), extras=extras)

    async with asyncio.timeout(60), Workers(num_workers=1, limits=WorkerLimits(deadline_s=20.0)) as workers:
        loaded = await workers.load("mine", reference=SQUARES, config=config)
        opened = await workers.open("e", opening)
        observed = await workers.step("e", "square 7")
        answered = await workers.step("e", "49")

    assert isinstance(loaded, Loaded)
    assert isinstance(opened, Opened)
    assert (observed.observations, observed.is_done) == ((ChatMessage("user", "49"),), False)
    assert (answered.reward, answered.is_done, answered.metrics) == (2.0, True, {"turns": 2.0})


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_its_registry_leads_to_its_class(name):
    assert load_grader(name, {}).is_environment


@pytest.mark.parametrize(("action", "reward"), [("Answer: 42", 1.0), ("Answer: 41", -1.0)])
def test_aime_scores_as_there(action, reward):
    environment = load_grader("aime", {}).make({"reward_model": {"ground_truth": "42"}})

    assert environment.step(action)["reward"] == reward


def test_settings_under_skyrls_names_reach_its_environments():
    run = RunConfig.model_validate({"environment": {"skyrl_gym": {"search": {"topk": 5}}}})

    settings = grading_of(run).choice.settings_for("search")

    environment = load_grader("search", settings).make({"reward_spec": {"ground_truth": "x"}, "max_turns": 2})
    assert environment.tool_group.topk == 5
