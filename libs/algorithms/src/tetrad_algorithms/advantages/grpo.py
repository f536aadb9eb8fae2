"""GRPO: a reward relative to the others of its group."""

# N samples of the step, on all ranks

from __future__ import annotations

from typing import assert_never

import torch
from torch import Tensor

from tetrad_algorithms.advantages.groups import GroupMoments, by_group, group_moments, settle_singletons
from tetrad_algorithms.advantages.outcomes import AdvantageOptions, Advantages, GrpoStd, Outcomes, estimators


@estimators.register("grpo")
def grpo(outcomes: Outcomes, options: AdvantageOptions) -> Advantages:
    """Reward relative to its group (GRPO, arXiv:2402.03300, §4.1.2): A = (R − mean) / (std + ε), on each token.

    Without the division it is Dr. GRPO (arXiv:2503.20783). A group of one has nothing to be compared with: 0, or its
    reward if `grpo_singleton` says so, and counted in `singleton_groups`.

    The tutorial's example, divided by the deviation over n, over n − 1, and by nothing:

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
    advantage_N = moments.centred_N / _divisor(moments, options)
    return by_group(outcomes, moments, settle_singletons(advantage_N, moments, options))


def _divisor(moments: GroupMoments, options: AdvantageOptions) -> Tensor:
    match options.grpo_std:
        case GrpoStd.SAMPLE:
            # A group of one has squares 0; the clamp only keeps its divisor finite.
            return (moments.squares_N / (moments.size_N - 1).clamp(min=1)).sqrt() + options.grpo_std_epsilon
        case GrpoStd.POPULATION:
            return (moments.squares_N / moments.size_N).sqrt() + options.grpo_std_epsilon
        case GrpoStd.NONE:
            return torch.ones_like(moments.mean_N)
        case _:
            assert_never(options.grpo_std)
