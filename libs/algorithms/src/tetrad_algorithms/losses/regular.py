"""The clipped surrogate of PPO, and the one with a second clip."""

from __future__ import annotations

import torch

from tetrad_algorithms.losses.tokens import (
    LossOptions,
    PolicyTokens,
    TokenLoss,
    clipped_surrogate,
    policy_losses,
    ratio,
)


@policy_losses.register("regular")
def regular(tokens: PolicyTokens, options: LossOptions) -> TokenLoss:
    """Clipped surrogate of PPO (arXiv:1707.06347, eq. 7): −min(ρA, clip(ρ, 1 − ε_low, 1 + ε_high)·A).

    With ε_high above ε_low it is DAPO's clip-higher (arXiv:2503.14476).

    A ratio of 1.5 earns no more than 1.2 where the advantage is positive, and costs in full where it is negative:

    >>> tokens = PolicyTokens(
    ...     learner_logprobs_T=torch.tensor([1.5, 1.5]).log(),
    ...     old_logprobs_T=torch.zeros(2),
    ...     rollout_logprobs_T=torch.zeros(2),
    ...     advantages_T=torch.tensor([1.0, -1.0]),
    ...     sample_T=torch.zeros(2),
    ... )
    >>> regular(tokens, LossOptions())
    TokenLoss(loss_T=tensor([-1.2000,  1.5000]), is_clipped_T=tensor([ True, False]))
    """
    ratio_T = ratio(tokens.learner_logprobs_T, tokens.old_logprobs_T)
    return clipped_surrogate(ratio_T, tokens.advantages_T, low=options.eps_clip_low, high=options.eps_clip_high)


@policy_losses.register("dual_clip")
def dual_clip(tokens: PolicyTokens, options: LossOptions) -> TokenLoss:
    """Clip a second time where the advantage is negative (arXiv:1912.09729, eq. 5): min(−cA, regular) for A < 0.

    A token that has become ten times likelier although it was bad costs 3, not 10:

    >>> tokens = PolicyTokens(
    ...     learner_logprobs_T=torch.tensor([10.0, 2.0]).log(),
    ...     old_logprobs_T=torch.zeros(2),
    ...     rollout_logprobs_T=torch.zeros(2),
    ...     advantages_T=torch.tensor([-1.0, -1.0]),
    ...     sample_T=torch.zeros(2),
    ... )
    >>> dual_clip(tokens, LossOptions())
    TokenLoss(loss_T=tensor([3., 2.]), is_clipped_T=tensor([ True, False]))
    """
    once = regular(tokens, options)
    bound_T = -options.clip_ratio_c * tokens.advantages_T
    is_beyond_T = (tokens.advantages_T < 0) & (once.loss_T > bound_T)
    return TokenLoss(
        loss_T=torch.where(is_beyond_T, bound_T, once.loss_T), is_clipped_T=once.is_clipped_T | is_beyond_T.detach()
    )
