"""An advantage estimator of one's own: a sample is compared with the median of its group."""

import torch

from tetrad_algorithms.advantages import AdvantageOptions, Advantages, Outcomes


def above_median(outcomes: Outcomes, options: AdvantageOptions) -> Advantages:
    """Reward minus the median of its group; one lucky sample does not make the others look bad."""
    advantage_N = torch.zeros_like(outcomes.rewards_N)
    for group in outcomes.group_N.unique():
        is_mine_N = outcomes.group_N == group
        advantage_N[is_mine_N] = outcomes.rewards_N[is_mine_N] - outcomes.rewards_N[is_mine_N].median()
    return Advantages(token_T=advantage_N[outcomes.sample_T])
