"""MaxRL: a reward relative to its group, weighted by how rarely the group succeeds."""

# N samples of the step, on all ranks

from __future__ import annotations

from typing import Final

from tetrad_algorithms.advantages.groups import by_group, group_moments, settle_singletons
from tetrad_algorithms.advantages.outcomes import AdvantageOptions, Advantages, Outcomes, estimators

MEAN_EPSILON: Final = 1e-6


@estimators.register("maxrl")
def maxrl(outcomes: Outcomes, options: AdvantageOptions) -> Advantages:
    """Reward relative to its group, divided by the group's mean (MaxRL, arXiv:2602.02710): (R − mean) / (mean + 1e-6).

    Rewards are meant to be successes, 0 or 1, so that the mean is the success rate. A group of one is treated as under
    `grpo`. A negative mean would turn every sign around: ValueError.

    >>> import torch
    >>> tutorial = Outcomes(
    ...     rewards_N=torch.tensor([1.0, 1.0, 0.0, 1.0]), group_N=torch.zeros(4), sample_T=torch.arange(4)
    ... )
    >>> [round(a, 4) for a in maxrl(tutorial, AdvantageOptions()).token_T.tolist()]
    [0.3333, 0.3333, -1.0, 0.3333]
    """
    moments = group_moments(outcomes.rewards_N, outcomes.group_N)
    lowest = moments.mean_N.min().item() if len(moments.mean_N) else 0.0
    if lowest < 0:
        raise ValueError(
            f"a group's mean reward is {lowest:g}; maxrl divides by it and needs at least 0: give rewards of 0 or "
            "more, or take advantage_estimator=grpo"
        )
    advantage_N = moments.centred_N / (moments.mean_N + MEAN_EPSILON)
    return by_group(outcomes, moments, settle_singletons(advantage_N, moments, options))
