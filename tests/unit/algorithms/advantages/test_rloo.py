"""RLOO against its definition, and at its edge."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tetrad_algorithms.advantages import AdvantageOptions, GrpoSingleton, Outcomes, rloo


def oracle(rewards: np.ndarray, groups: np.ndarray) -> list[float]:
    """A reward minus the mean of the others of its group, one sample at a time."""
    found = []
    for sample, group in enumerate(groups):
        others = [rewards[other] for other in range(len(rewards)) if groups[other] == group and other != sample]
        found.append(float(rewards[sample] - np.mean(others)) if others else 0.0)
    return found


def test_the_tutorials_example() -> None:
    outcomes = Outcomes(rewards_N=torch.tensor([1.0, 1, 0, 1]), group_N=torch.zeros(4), sample_T=torch.arange(4))

    found = rloo(outcomes, AdvantageOptions()).token_T.tolist()

    assert found == pytest.approx([0.3333, 0.3333, -1.0, 0.3333], abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_rloo_is_the_reward_minus_the_mean_of_the_others(seed: int) -> None:
    random = np.random.default_rng(seed)
    rewards, groups = random.normal(size=12), random.integers(0, 4, size=12)
    sample_T = torch.tensor(random.permutation(12))

    outcomes = Outcomes(rewards_N=torch.tensor(rewards), group_N=torch.tensor(groups), sample_T=sample_T)
    found = rloo(outcomes, AdvantageOptions()).token_T

    assert found.tolist() == pytest.approx([oracle(rewards, groups)[sample] for sample in sample_T], abs=1e-12)


@pytest.mark.parametrize("singleton", GrpoSingleton)
def test_a_group_of_one_gets_zero_whatever_grpo_would_give_and_is_counted(singleton: GrpoSingleton) -> None:
    outcomes = Outcomes(
        rewards_N=torch.tensor([5.0, 2.0, 2.0]), group_N=torch.tensor([4, 1, 1]), sample_T=torch.arange(3)
    )

    found = rloo(outcomes, AdvantageOptions(grpo_singleton=singleton))

    assert found.token_T.tolist() == [0.0, 0.0, 0.0]
    assert (found.singleton_groups, found.flat_groups) == (1, 1)
