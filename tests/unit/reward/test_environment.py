import math

import pytest

from tetrad_reward.environment import (
    MAX_METRICS,
    Config,
    InvalidResultError,
    checked_conversation,
    checked_metrics,
    checked_reward,
    checked_step,
)
from tetrad_wire.messages.leases import ChatMessage


@pytest.mark.parametrize("reward", ["1.0", None, [1.0], float("nan"), math.inf, -math.inf, 1j])
def test_a_reward_that_is_no_finite_number_is_refused(reward):
    with pytest.raises(InvalidResultError, match="reward is"):
        checked_reward(reward)


@pytest.mark.parametrize(("reward", "expected"), [(1, 1.0), (True, 1.0), (-0.5, -0.5)])
def test_whole_numbers_and_booleans_are_rewards(reward, expected):
    assert checked_reward(reward) == expected


def test_numpy_scalars_are_rewards():
    numpy = pytest.importorskip("numpy")

    assert checked_reward(numpy.float32(0.5)) == 0.5


@pytest.mark.parametrize(
    "output",
    [
        None,
        1.0,
        {"reward": 1.0},
        {"done": True},
        {"reward": 1.0, "done": True, "observations": "text"},
        {"reward": 1.0, "done": True, "observations": [{"role": "user"}]},
        {"reward": 1.0, "done": True, "observations": [{"role": "user", "content": 5}]},
        {"reward": 1.0, "done": True, "observations": [{"role": "user", "content": "x", "name": "y"}]},
        {"reward": 1.0, "done": True, "postprocessed_action": 5},
    ],
)
def test_a_step_that_returns_something_else_is_refused(output):
    with pytest.raises(InvalidResultError):
        checked_step(output)


def test_a_step_output_of_skyrl_is_taken_whole():
    result = checked_step(
        {
            "observations": [{"role": "user", "content": "again"}],
            "reward": 0,
            "done": False,
            "metadata": {"extracted": 5, "rule": "hash", "scores": {"strict": True, "flexible": 0.5}},
            "postprocessed_action": "cut",
        }
    )

    assert (result.reward, result.is_done, result.postprocessed_action) == (0.0, False, "cut")
    assert result.observations == (ChatMessage("user", "again"),)
    assert (result.extracted, result.rule) == ("5", "hash")
    assert result.scores == {"strict": 1.0, "flexible": 0.5}


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ([1.0], "must be a dict"),
        ({"strict": "1.0"}, "score 'strict' is str"),
        ({"strict": math.nan}, "strict is nan"),
        ({"Not A Name": 1.0}, "a name has"),
        ({f"s{number}": 1.0 for number in range(9)}, "the limit is 8"),
    ],
)
def test_extra_scores_that_are_no_named_numbers_are_refused(scores, reason):
    with pytest.raises(InvalidResultError, match=reason):
        checked_step({"reward": 1.0, "done": True, "metadata": {"scores": scores}})


def test_metrics_keep_the_finite_numbers_only():
    values = {"turns": 2, "ok": True, "name": "x", "bad": math.nan}

    assert checked_metrics(values) == {"turns": 2.0, "ok": 1.0}


def test_more_metrics_than_the_limit_are_refused():
    with pytest.raises(InvalidResultError, match=str(MAX_METRICS)):
        checked_metrics({str(n): n for n in range(MAX_METRICS + 1)})


def test_a_conversation_must_be_a_list():
    with pytest.raises(InvalidResultError, match="list of dicts"):
        checked_conversation("hello")


def test_settings_are_read_by_key_and_by_attribute():
    config = Config(url="x")

    assert config.url == config["url"] == config.get("url")
    with pytest.raises(AttributeError, match="they have \\['url'\\]"):
        _ = config.model
