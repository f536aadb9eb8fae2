"""Groups: how the rewards of a prompt's samples compare.

Owns the moments of groups, and what becomes of a sample that is alone in its group. Must not know which estimator asks.
"""

# N samples of the step, on all ranks · P prompt groups · T trained tokens of this rank

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from tetrad_algorithms.advantages.outcomes import AdvantageOptions, Advantages, GrpoSingleton, Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMoments:
    """Rewards and the mean and spread of each one's group; float64."""

    rewards_N: Tensor
    size_N: Tensor
    """int64[N]: samples of each sample's group."""
    mean_N: Tensor
    centred_N: Tensor
    """Reward − mean; exactly 0 where all rewards of a group are equal."""
    squares_N: Tensor
    """Summed squares of that over the group."""
    sizes_P: Tensor
    squares_P: Tensor


def group_moments(rewards_N: Tensor, group_N: Tensor) -> GroupMoments:
    """Count, mean and summed squares of every group; raises ValueError unless there is one group for each reward.

    Averages what lies above the group's least reward, so that equal rewards have exactly no spread.

    >>> group_moments(torch.tensor([0.1, 0.1, 0.1], dtype=torch.float64), torch.zeros(3)).centred_N.tolist()
    [0.0, 0.0, 0.0]
    """
    if rewards_N.shape != group_N.shape:
        raise ValueError(f"{tuple(rewards_N.shape)} rewards but {tuple(group_N.shape)} group numbers")
    rewards_N = rewards_N.detach().double()
    _, index_N, sizes_P = torch.unique(group_N, return_inverse=True, return_counts=True)
    zeros_P = rewards_N.new_zeros(len(sizes_P))
    least_N = zeros_P.scatter_reduce(0, index_N, rewards_N, "amin", include_self=False)[index_N]
    above_N = rewards_N - least_N
    mean_above_N = (zeros_P.index_add(0, index_N, above_N) / sizes_P)[index_N]
    centred_N = above_N - mean_above_N
    squares_P = zeros_P.index_add(0, index_N, centred_N.square())
    return GroupMoments(
        rewards_N=rewards_N,
        size_N=sizes_P[index_N],
        mean_N=least_N + mean_above_N,
        centred_N=centred_N,
        squares_N=squares_P[index_N],
        sizes_P=sizes_P,
        squares_P=squares_P,
    )


def settle_singletons(advantage_N: Tensor, moments: GroupMoments, options: AdvantageOptions) -> Tensor:
    """Return the advantages, with what `grpo_singleton` says for samples that are alone in their group."""
    match options.grpo_singleton:
        case GrpoSingleton.ZERO:
            return advantage_N.masked_fill(moments.size_N == 1, 0.0)
        case GrpoSingleton.RAW_REWARD:
            return torch.where(moments.size_N == 1, moments.rewards_N, advantage_N)
        case _:
            assert_never(options.grpo_singleton)


def by_group(outcomes: Outcomes, moments: GroupMoments, advantage_N: Tensor) -> Advantages:
    """Give every trained token the advantage of its sample, and count the groups that could not teach."""
    return Advantages(
        token_T=advantage_N[outcomes.sample_T],
        singleton_groups=int((moments.sizes_P == 1).sum()),
        flat_groups=int(((moments.sizes_P > 1) & (moments.squares_P == 0)).sum()),
    )
