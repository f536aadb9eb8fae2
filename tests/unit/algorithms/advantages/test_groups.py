"""Moments of groups are exact where exactness decides something."""

from __future__ import annotations

import pytest
import torch

from tetrad_algorithms.advantages import group_moments


@pytest.mark.parametrize("reward", [0.1, -1 / 3, 1e9 + 0.7])
@pytest.mark.parametrize("size", [3, 7, 10])
def test_equal_rewards_have_exactly_no_spread_in_float64(reward: float, size: int) -> None:
    rewards_N = torch.full((size,), reward, dtype=torch.float64)

    moments = group_moments(rewards_N, torch.zeros(size))

    assert moments.squares_P.tolist() == [0.0]
    assert moments.mean_N.tolist() == [reward] * size


def test_a_small_spread_on_a_large_mean_is_not_lost() -> None:
    rewards_N = torch.tensor([1e8, 1e8 + 1e-3], dtype=torch.float64)

    moments = group_moments(rewards_N, torch.zeros(2))

    assert moments.squares_P.tolist() == pytest.approx([2 * 0.0005**2], rel=1e-4)


def test_a_group_number_is_needed_for_each_reward() -> None:
    with pytest.raises(ValueError, match=r"\(2,\) rewards but \(3,\) group numbers"):
        group_moments(torch.zeros(2), torch.zeros(3))
