"""SAPO: a soft gate in the place of the clip."""

from __future__ import annotations

import torch

from tetrad_algorithms.losses.tokens import LossOptions, PolicyTokens, TokenLoss, policy_losses, ratio


@policy_losses.register("sapo")
def sapo(tokens: PolicyTokens, options: LossOptions) -> TokenLoss:
    """Soft adaptive gate (SAPO, arXiv:2511.20347): −A · σ(τ(ρ − 1)) · 4/τ, τ by the sign of the advantage.

    At ρ = 1 its gradient is that of −ρA, and it fades on both sides; a larger τ fades sooner. Counted as clipped is a
    token whose gradient is weaker than half of that: σ'(τ(ρ − 1)) < 1/8.

    >>> tokens = PolicyTokens(
    ...     learner_logprobs_T=torch.tensor([0.0, 2.0], requires_grad=True),
    ...     old_logprobs_T=torch.zeros(2),
    ...     rollout_logprobs_T=torch.zeros(2),
    ...     advantages_T=torch.tensor([1.0, 1.0]),
    ...     sample_T=torch.zeros(2),
    ... )
    >>> found = sapo(tokens, LossOptions())
    >>> found.loss_T.sum().backward()
    >>> tokens.learner_logprobs_T.grad, found.is_clipped_T
    (tensor([-1.0000, -0.0495]), tensor([False,  True]))
    """
    ratio_T = ratio(tokens.learner_logprobs_T, tokens.old_logprobs_T)
    tau_T = torch.full_like(ratio_T, options.sapo_tau_neg).masked_fill(tokens.advantages_T > 0, options.sapo_tau_pos)
    gate_T = torch.sigmoid(tau_T * (ratio_T - 1))
    slope_T = (gate_T * (1 - gate_T)).detach()
    return TokenLoss(loss_T=-tokens.advantages_T * gate_T * (4 / tau_T), is_clipped_T=slope_T < 1 / 8)
