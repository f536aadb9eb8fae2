"""GAE: advantages by a critic's values, between one-step surprise and the whole return."""

# N samples of the step, on all ranks · T trained tokens of this rank

from __future__ import annotations

import torch
from torch import Tensor

from tetrad_algorithms.advantages.discounting import discounted_sums, is_last, token_rewards
from tetrad_algorithms.advantages.normalization import token_moments, whiten
from tetrad_algorithms.advantages.outcomes import AdvantageOptions, Advantages, Outcomes, estimators


@estimators.register("gae")
def gae(outcomes: Outcomes, options: AdvantageOptions) -> Advantages:
    """Generalized advantage estimation (arXiv:1506.02438, eq. 16), then whitened over all trained tokens.

    δ_t = r_t + γ V_{t+1} − V_t and A_t = δ_t + γλ A_{t+1}, over the trained tokens of each sample: observations
    between them are no actions, and the value after the last token is 0. The critic's targets are A + V before the
    whitening. A single token in the whole batch gets 0 and counts in `singleton_groups`. Raises ValueError without
    values.

    >>> outcomes = Outcomes(
    ...     rewards_N=torch.tensor([1.0]),
    ...     group_N=torch.tensor([0]),
    ...     sample_T=torch.tensor([0, 0]),
    ...     values_T=torch.tensor([0.5, 0.25]),
    ... )
    >>> found = gae(outcomes, AdvantageOptions(gamma=1.0, lambd=0.5))
    >>> found.returns_T  # δ = −0.25, 0.75; A = 0.125, 0.75
    tensor([0.6250, 1.0000], dtype=torch.float64)
    >>> found.token_T.round(decimals=4)
    tensor([-0.7071,  0.7071], dtype=torch.float64)
    """
    if outcomes.values_T is None:
        raise ValueError("gae needs a critic's values and got none; set trainer.critic.model.path")
    values_T = outcomes.values_T.detach().double()
    surprise_T = token_rewards(outcomes) + options.gamma * _next(values_T, outcomes.sample_T) - values_T
    advantage_T = discounted_sums(surprise_T, outcomes.sample_T, factor=options.gamma * options.lambd)
    moments = token_moments(advantage_T, sum_over_ranks=outcomes.sum_over_ranks)
    return Advantages(
        token_T=whiten(advantage_T, moments),
        returns_T=advantage_T + values_T,
        singleton_groups=int(moments.count == 1),
    )


def _next(values_T: Tensor, sample_T: Tensor) -> Tensor:
    """Return the value after each token: that before the next one of its sample, 0 after the last."""
    return torch.roll(values_T, -1).masked_fill(is_last(sample_T), 0.0)
