"""REINFORCE++: discounted returns, whitened over the batch instead of the group."""

# T trained tokens of this rank

from __future__ import annotations

from tetrad_algorithms.advantages.discounting import discounted_sums, token_rewards
from tetrad_algorithms.advantages.normalization import token_moments, whiten
from tetrad_algorithms.advantages.outcomes import AdvantageOptions, Advantages, Outcomes, estimators


@estimators.register("reinforce++")
def reinforce_plus_plus(outcomes: Outcomes, options: AdvantageOptions) -> Advantages:
    """Discounted return of each token, whitened over all trained tokens (REINFORCE++, arXiv:2501.03262).

    G_t = r_t + γ G_{t+1} over the trained tokens of each sample; then (G − mean) · rsqrt(var + 1e-8) with the unbiased
    variance over all ranks. Groups mean nothing. A single token in the whole batch gets 0 and counts in
    `singleton_groups`.

    >>> import torch
    >>> outcomes = Outcomes(
    ...     rewards_N=torch.tensor([1.0, 0.0]), group_N=torch.tensor([0, 0]), sample_T=torch.tensor([0, 0, 1])
    ... )
    >>> reinforce_plus_plus(outcomes, AdvantageOptions(gamma=0.5)).token_T.round(decimals=4)  # returns 0.5, 1, 0
    tensor([ 0.,  1., -1.], dtype=torch.float64)
    """
    returns_T = discounted_sums(token_rewards(outcomes), outcomes.sample_T, factor=options.gamma)
    moments = token_moments(returns_T, sum_over_ranks=outcomes.sum_over_ranks)
    return Advantages(token_T=whiten(returns_T, moments), singleton_groups=int(moments.count == 1))
