"""Several graders as one: the sum, its parts, and whose fault a failure is."""

import sys
from pathlib import Path

import pytest

from tetrad_config import RunConfig
from tetrad_reward.compose import grading_of
from tetrad_reward.environment import InvalidResultError, checked_step
from tetrad_reward.metrics import RewardMetrics
from tetrad_reward.registry import WEIGHTED_SUM, GraderError, load_grader
from tetrad_reward.workers import WorkersStatistics
from tetrad_telemetry.metrics import Metrics
from tetrad_testing.builders.episodes import a_grade
from tetrad_transport.statistics import ChannelStatistics

GRADERS = Path(__file__).with_name("graders.py")
ROW = {"reward_spec": {"ground_truth": "5"}}


def a_sum(*functions):
    run = RunConfig.model_validate({"reward": {"functions": list(functions)}})
    choice = grading_of(run).choice
    assert choice.serves_any
    return load_grader(choice.reference_for("any"), choice.settings_for(WEIGHTED_SUM))


LENGTH = {"fn": f"{GRADERS}:length", "weight": 0.1}


def test_the_reward_is_the_weighted_sum_and_each_part_is_kept():
    episode = a_sum({"fn": "gsm8k"}, {**LENGTH, "weight": -0.5, "name": "short"}).make(ROW)
    episode.init([])

    result = checked_step(episode.step("#### 5"))

    assert result.reward == 1.0 - 0.5 * 6
    assert result.scores == {"gsm8k": 1.0, "short": 6.0}
    assert (result.is_done, result.extracted, result.rule) == (True, "5", "hash")
    metrics = episode.get_metrics()
    assert (metrics["component_gsm8k"], metrics["component_short"]) == (1.0, 6.0)


def test_an_environment_leads_and_functions_see_its_last_turn():
    episode = a_sum(LENGTH, {"fn": f"{GRADERS}:Countdown"}).make({"reward_spec": {"ground_truth": "2"}})
    prompt, _ = episode.init([])

    first, last = (checked_step(episode.step(action)) for action in ("2", "1"))

    assert prompt[-1]["content"] == "Count down from 2."
    assert (first.reward, first.is_done, first.scores) == (1.0, False, {"countdown": 1.0})
    assert (last.reward, last.is_done, last.scores) == (1.1, True, {"countdown": 1.0, "length": 1.0})


def test_settings_of_bundled_environments_are_theirs_in_a_sum():
    run = RunConfig.model_validate(
        {"environment": {"gsm8k": {"mode": "boxed"}}, "reward": {"functions": [{"fn": "gsm8k"}]}}
    )

    settings = grading_of(run).choice.settings_for(WEIGHTED_SUM)

    assert settings["functions"] == [
        {"name": "gsm8k", "reference": "gsm8k", "weight": 1.0, "config": {"mode": "boxed"}}
    ]


def test_the_version_changes_with_a_weight_and_with_a_component():
    versions = {
        a_sum({"fn": "gsm8k"}, LENGTH).version,
        a_sum({"fn": "gsm8k"}, {**LENGTH, "weight": 0.2}).version,
        a_sum({"fn": "arithmetic"}, LENGTH).version,
    }

    assert len(versions) == 3
    assert all(version.startswith("weighted_sum-") for version in versions)


def test_two_environments_cannot_lead():
    with pytest.raises(GraderError, match="gsm8k, arithmetic are all environments"):
        a_sum({"fn": "gsm8k"}, {"fn": "arithmetic"})


def test_a_component_that_cannot_be_had_is_named():
    with pytest.raises(GraderError, match=r"reward\.functions, brevity: .*did you mean 'length'"):
        a_sum({"fn": f"{GRADERS}:lenght", "name": "brevity"})


@pytest.mark.parametrize(("response", "reason"), [("raise", "RuntimeError: on purpose"), ("nan", "must be finite")])
def test_a_failed_component_fails_the_grade_and_is_named(response, reason):
    episode = a_sum({"fn": f"{GRADERS}:hostile"}).make(ROW)
    episode.init([])

    with pytest.raises(InvalidResultError, match=f"component hostile: .*{reason}"):
        episode.step(response)


def test_memory_that_runs_out_stays_what_it_is():
    episode = a_sum({"fn": f"{GRADERS}:hostile"}).make(ROW)
    episode.init([])

    with pytest.raises(MemoryError):
        episode.step("allocate" if sys.maxsize > 1 << 40 else "")


def test_components_show_as_metrics_up_to_a_number_of_names():
    metrics = RewardMetrics(Metrics("reward", version="0"))
    for name in range(100):
        metrics.observe("weighted_sum-1", a_grade(reward=1.0, scores={f"part_{name}": 0.5}))

    idle = WorkersStatistics(busy=0, idle=1, spare=0, starting=0, waiting=0, deaths=0, replayed=0)
    page = metrics.page(workers=idle, episodes=0, queued=0, channel=ChannelStatistics()).decode()

    assert 'tetrad_reward_component_mean{component="part_0",reward_fn="weighted_sum"} 0.5' in page
    assert page.count("tetrad_reward_component_mean{") == 64
