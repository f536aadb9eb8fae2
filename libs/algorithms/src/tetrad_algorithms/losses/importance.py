"""Plain importance sampling, against the old policy or against the rollout engine."""

from __future__ import annotations

import torch

from tetrad_algorithms.losses.tokens import LossOptions, PolicyTokens, TokenLoss, policy_losses, ratio


@policy_losses.register("importance_sampling")
def importance_sampling(tokens: PolicyTokens, _options: LossOptions) -> TokenLoss:
    """Return −ρA, with nothing clipped (the unclipped surrogate of arXiv:1707.06347, eq. 6).

    Reduced as every other loss is; SkyRL always sums it.

    >>> tokens = PolicyTokens(
    ...     learner_logprobs_T=torch.tensor([3.0]).log(),
    ...     old_logprobs_T=torch.zeros(1),
    ...     rollout_logprobs_T=torch.zeros(1),
    ...     advantages_T=torch.tensor([2.0]),
    ...     sample_T=torch.zeros(1),
    ... )
    >>> importance_sampling(tokens, LossOptions()).loss_T
    tensor([-6.])
    """
    ratio_T = ratio(tokens.learner_logprobs_T, tokens.old_logprobs_T)
    loss_T = -ratio_T * tokens.advantages_T
    return TokenLoss(loss_T=loss_T, is_clipped_T=torch.zeros_like(loss_T, dtype=torch.bool))


@policy_losses.register("rollout_is")
def rollout_is(tokens: PolicyTokens, options: LossOptions) -> TokenLoss:
    """Weigh by the ratio to the *rollout engine*, and drop tokens where it leaves the range (IcePop style).

    −A · sg(ρ_ro · 1[1 − ε_low < ρ_ro < 1 + ε_high]) · log π with ρ_ro = π / π_rollout, as in SkyRL's `rollout_is`.

    >>> tokens = PolicyTokens(
    ...     learner_logprobs_T=torch.tensor([-1.0, -1.0]),
    ...     old_logprobs_T=torch.zeros(2),
    ...     rollout_logprobs_T=torch.tensor([-1.0, -2.0]),
    ...     advantages_T=torch.tensor([1.0, 1.0]),
    ...     sample_T=torch.zeros(2),
    ... )
    >>> rollout_is(tokens, LossOptions())
    TokenLoss(loss_T=tensor([1., 0.]), is_clipped_T=tensor([False,  True]))
    """
    ratio_T = ratio(tokens.learner_logprobs_T, tokens.rollout_logprobs_T).detach()
    is_inside_T = (ratio_T > 1 - options.eps_clip_low) & (ratio_T < 1 + options.eps_clip_high)
    weight_T = torch.where(is_inside_T, ratio_T, torch.zeros_like(ratio_T))
    return TokenLoss(loss_T=-tokens.advantages_T * weight_T * tokens.learner_logprobs_T, is_clipped_T=~is_inside_T)
