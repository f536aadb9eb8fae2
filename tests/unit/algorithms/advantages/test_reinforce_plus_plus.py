"""REINFORCE++ against a loop over tokens, and where there is nothing to whiten."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tetrad_algorithms.advantages import AdvantageOptions, Outcomes, estimators, reinforce_plus_plus

LENGTHS = (3, 1, 6)
SAMPLE_T = torch.repeat_interleave(torch.arange(3), torch.tensor(LENGTHS))


def whitened(returns: list[float]) -> list[float]:
    values = np.array(returns)
    return list((values - values.mean()) / np.sqrt(values.var(ddof=1) + 1e-8))


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
def test_an_outcomes_reward_is_discounted_towards_the_first_token_then_whitened(gamma: float) -> None:
    rewards = [2.0, -1.0, 0.5]
    outcomes = Outcomes(rewards_N=torch.tensor(rewards), group_N=torch.arange(3), sample_T=SAMPLE_T)

    found = reinforce_plus_plus(outcomes, AdvantageOptions(gamma=gamma)).token_T

    returns = [reward * gamma ** (n - 1 - t) for reward, n in zip(rewards, LENGTHS, strict=True) for t in range(n)]
    assert found.tolist() == pytest.approx(whitened(returns), abs=1e-10)


def test_rewards_by_token_count_for_the_tokens_before_them_only() -> None:
    outcomes = Outcomes(
        rewards_N=torch.tensor([3.0]),
        group_N=torch.tensor([0]),
        sample_T=torch.tensor([0, 0, 0]),
        token_rewards_T=torch.tensor([1.0, 2.0, 0.0]),
    )

    found = reinforce_plus_plus(outcomes, AdvantageOptions(gamma=0.5)).token_T

    assert found.tolist() == pytest.approx(whitened([2.0, 2.0, 0.0]), abs=1e-10)


def test_groups_and_lambda_mean_nothing() -> None:
    rewards_N = torch.tensor([2.0, -1.0, 0.5])
    apart = Outcomes(rewards_N=rewards_N, group_N=torch.arange(3), sample_T=SAMPLE_T)
    together = Outcomes(rewards_N=rewards_N, group_N=torch.zeros(3), sample_T=SAMPLE_T)

    first = reinforce_plus_plus(apart, AdvantageOptions(gamma=0.9, lambd=0.1))

    assert torch.equal(first.token_T, reinforce_plus_plus(together, AdvantageOptions(gamma=0.9)).token_T)


def test_a_single_token_gets_zero_and_is_counted() -> None:
    one = Outcomes(rewards_N=torch.tensor([3.0]), group_N=torch.tensor([0]), sample_T=torch.tensor([0]))

    found = reinforce_plus_plus(one, AdvantageOptions())

    assert (found.token_T.tolist(), found.singleton_groups) == ([0.0], 1)


def test_equal_returns_get_zero() -> None:
    outcomes = Outcomes(rewards_N=torch.ones(3), group_N=torch.arange(3), sample_T=SAMPLE_T)

    assert reinforce_plus_plus(outcomes, AdvantageOptions()).token_T.tolist() == [0.0] * 10


def test_it_is_registered_under_its_name_of_the_run_file() -> None:
    assert estimators.get("reinforce++") is reinforce_plus_plus
