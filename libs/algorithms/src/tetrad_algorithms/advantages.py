"""Advantages: from the rewards of a step to one number per trained token.

Owns the estimators and their registry. Sees the rewards of *all* samples of the step, so that a group may be spread
over ranks; must not know of models, ranks or mini-batches.
"""

# N samples of the step, on all ranks · P prompt groups · T trained tokens of this rank

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

import torch
from torch import Tensor

from tetrad_algorithms.registry import Registry

# Added to the deviation; SkyRL and verl use the same, TRL 1e-4.
STD_EPSILON: Final = 1e-6


class GrpoStd(StrEnum):
    """By what GRPO divides: the deviation over n − 1, over n, or nothing (Dr. GRPO)."""

    SAMPLE = "sample"
    POPULATION = "population"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What an estimator may look at."""

    rewards_N: Tensor
    """float[N]: total reward of each sample of the step."""
    group_N: Tensor
    """int64[N]: samples with equal numbers answer the same draw; the numbers themselves mean nothing."""
    sample_T: Tensor
    """int64[T]: to which sample (index into N) each trained token of this rank belongs, in token order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvantageOptions:
    """Settings of the estimators; each reads its own."""

    grpo_std: GrpoStd = GrpoStd.SAMPLE
    """Deviation by which `grpo` divides."""
    grpo_std_epsilon: float = STD_EPSILON
    """Added to that deviation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advantages:
    """What an estimator returns, and what deserves a warning."""

    token_T: Tensor
    """float64[T]: advantage of each trained token of this rank; no gradient."""
    singleton_groups: int
    """Groups of one sample: nothing to compare with, advantage 0. More than none deserves a loud warning."""
    flat_groups: int
    """Groups of two or more whose rewards are all equal: they teach nothing."""


Estimator = Callable[[Outcomes, AdvantageOptions], Advantages]

estimators: Registry[Estimator] = Registry("trainer.algorithm.advantage_estimator")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMoments:
    """Mean and spread of each sample's group, in float64, broadcast to the samples."""

    size_N: Tensor
    mean_N: Tensor
    squares_N: Tensor
    """Summed squares of (reward - mean) over the group."""
    sizes_P: Tensor
    squares_P: Tensor


def group_moments(rewards_N: Tensor, group_N: Tensor) -> GroupMoments:
    """Count, mean and summed squares of every group; float64, so that equal rewards give exactly zero spread."""
    if rewards_N.shape != group_N.shape:
        raise ValueError(f"{tuple(rewards_N.shape)} rewards but {tuple(group_N.shape)} group numbers")
    _, index_N, sizes_P = torch.unique(group_N, return_inverse=True, return_counts=True)
    rewards_N = rewards_N.double()
    zeros_P = torch.zeros(len(sizes_P), dtype=torch.float64)
    mean_N = (zeros_P.index_add(0, index_N, rewards_N) / sizes_P)[index_N]
    squares_P = zeros_P.index_add(0, index_N, (rewards_N - mean_N).square())
    return GroupMoments(
        size_N=sizes_P[index_N], mean_N=mean_N, squares_N=squares_P[index_N], sizes_P=sizes_P, squares_P=squares_P
    )


@estimators.register("grpo")
def grpo(outcomes: Outcomes, options: AdvantageOptions) -> Advantages:
    """Reward relative to its group (GRPO, arXiv:2402.03300): A = (R − mean) / (std + ε), the same for each token.

    Without the division it is Dr. GRPO (arXiv:2503.20783). A group of one has nothing to be compared with: 0, and
    counted in `singleton_groups`.

    The tutorial's example, which divides by the deviation over n:

    >>> tutorial = Outcomes(
    ...     rewards_N=torch.tensor([1.0, 1.0, 0.0, 1.0]), group_N=torch.zeros(4), sample_T=torch.arange(4)
    ... )
    >>> [round(a, 2) for a in grpo(tutorial, AdvantageOptions(grpo_std=GrpoStd.POPULATION)).token_T.tolist()]
    [0.58, 0.58, -1.73, 0.58]
    >>> [round(a, 2) for a in grpo(tutorial, AdvantageOptions(grpo_std=GrpoStd.SAMPLE)).token_T.tolist()]
    [0.5, 0.5, -1.5, 0.5]
    >>> [round(a, 2) for a in grpo(tutorial, AdvantageOptions(grpo_std=GrpoStd.NONE)).token_T.tolist()]
    [0.25, 0.25, -0.75, 0.25]
    """
    moments = group_moments(outcomes.rewards_N, outcomes.group_N)
    centred_N = outcomes.rewards_N.double() - moments.mean_N
    advantage_N = centred_N / _divisor(moments, options)
    return Advantages(
        token_T=advantage_N[outcomes.sample_T],
        singleton_groups=int((moments.sizes_P == 1).sum()),
        flat_groups=int(((moments.sizes_P > 1) & (moments.squares_P == 0)).sum()),
    )


def _divisor(moments: GroupMoments, options: AdvantageOptions) -> Tensor:
    match options.grpo_std:
        case GrpoStd.SAMPLE:
            # A group of one has squares 0 and advantage 0; the clamp only keeps its divisor finite.
            return (moments.squares_N / (moments.size_N - 1).clamp(min=1)).sqrt() + options.grpo_std_epsilon
        case GrpoStd.POPULATION:
            return (moments.squares_N / moments.size_N).sqrt() + options.grpo_std_epsilon
        case GrpoStd.NONE:
            return torch.ones_like(moments.mean_N)
        case _:
            assert_never(options.grpo_std)
