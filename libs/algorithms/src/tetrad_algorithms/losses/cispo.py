"""CISPO: the importance weight is clipped, the gradient never."""

from __future__ import annotations

import torch

from tetrad_algorithms.losses.tokens import LossOptions, PolicyTokens, TokenLoss, policy_losses, ratio


@policy_losses.register("cispo")
def cispo(tokens: PolicyTokens, options: LossOptions) -> TokenLoss:
    """Weighted log-likelihood with a clipped, detached weight (MiniMax-M1, arXiv:2506.13585, eqs. 4–5).

    −A · sg(clip(ρ, 1 − ε_low, 1 + ε_high)) · log π. Every token keeps a gradient. The paper clips above only, which is
    ε_low = 1; SkyRL 0.4.0's default of 0 never let a weight fall below 1.

    >>> tokens = PolicyTokens(
    ...     learner_logprobs_T=torch.tensor([-1.0, -1.0]),
    ...     old_logprobs_T=torch.tensor([-1.0, -4.0]),
    ...     rollout_logprobs_T=torch.zeros(2),
    ...     advantages_T=torch.tensor([1.0, 1.0]),
    ...     sample_T=torch.zeros(2),
    ... )
    >>> cispo(tokens, LossOptions())
    TokenLoss(loss_T=tensor([1., 5.]), is_clipped_T=tensor([False,  True]))
    """
    ratio_T = ratio(tokens.learner_logprobs_T, tokens.old_logprobs_T).detach()
    weight_T = ratio_T.clamp(1 - options.cispo_eps_clip_low, 1 + options.cispo_eps_clip_high)
    return TokenLoss(
        loss_T=-tokens.advantages_T * weight_T * tokens.learner_logprobs_T, is_clipped_T=torch.ne(weight_T, ratio_T)
    )
