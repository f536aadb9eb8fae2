"""RLOO: a reward relative to the mean of the others of its group."""

# N samples of the step, on all ranks

from __future__ import annotations

from tetrad_algorithms.advantages.groups import by_group, group_moments
from tetrad_algorithms.advantages.outcomes import AdvantageOptions, Advantages, Outcomes, estimators


@estimators.register("rloo")
def rloo(outcomes: Outcomes, options: AdvantageOptions) -> Advantages:  # noqa: ARG001  # no option applies
    """Reward minus the mean of the others (RLOO, arXiv:2402.14740): A = (R − mean) · n / (n − 1).

    A group of one has no others: 0, counted in `singleton_groups`. No option applies.

    >>> import torch
    >>> tutorial = Outcomes(
    ...     rewards_N=torch.tensor([1.0, 1.0, 0.0, 1.0]), group_N=torch.zeros(4), sample_T=torch.arange(4)
    ... )
    >>> [round(a, 4) for a in rloo(tutorial, AdvantageOptions()).token_T.tolist()]
    [0.3333, 0.3333, -1.0, 0.3333]
    """
    moments = group_moments(outcomes.rewards_N, outcomes.group_N)
    others_N = (moments.size_N - 1).clamp(min=1)
    return by_group(outcomes, moments, moments.centred_N * moments.size_N / others_N)
