"""Policy losses: one number per trained token, before any reduction.

Owns the formulas and their registry; the reduction is `masking.reductions`. Must not know of models or batches.
"""

# T trained tokens

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from tetrad_algorithms.registry import Registry

# Clamped before exp(): a ratio beyond e^20 is clipped anyway, and inf · 0 would be NaN in the gradient.
MAX_LOG_RATIO: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTokens:
    """Trained tokens of one micro-batch."""

    learner_logprobs_T: Tensor
    """Log-probability under the policy being trained; the only input with a gradient."""
    old_logprobs_T: Tensor
    """The same under the policy before the step's first update, computed by the trainer."""
    rollout_logprobs_T: Tensor
    """The same as the rollout engine reported it."""
    advantages_T: Tensor
    """Advantage of each token."""
    sample_T: Tensor
    """int64[T]: sample of each token; whole samples only, for losses with a ratio per sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossOptions:
    """Settings of the losses; each reads its own."""

    eps_clip_low: float = 0.2
    """The ratio's gradient stops below 1 - eps_clip_low."""
    eps_clip_high: float = 0.2
    """The ratio's gradient stops above 1 + eps_clip_high."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLoss:
    """A loss before its reduction."""

    loss_T: Tensor
    """Loss of each token, with gradient."""
    is_clipped_T: Tensor
    """bool[T]: where the clipped branch was the larger loss."""


PolicyLoss = Callable[[PolicyTokens, LossOptions], TokenLoss]

policy_losses: Registry[PolicyLoss] = Registry("trainer.algorithm.policy_loss_type")


def ratio(learner_logprobs_T: Tensor, old_logprobs_T: Tensor) -> Tensor:
    """Return π / π_old of each token, its logarithm clamped to ±20.

    >>> ratio(torch.tensor([-1.0, 90.0]), torch.tensor([-1.0, -1.0]))
    tensor([1.0000e+00, 4.8517e+08])
    """
    return (learner_logprobs_T - old_logprobs_T).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


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
    clipped_ratio_T = ratio_T.clamp(1 - options.eps_clip_low, 1 + options.eps_clip_high)
    plain_T = -ratio_T * tokens.advantages_T
    clipped_T = -clipped_ratio_T * tokens.advantages_T
    return TokenLoss(loss_T=torch.maximum(plain_T, clipped_T), is_clipped_T=(clipped_T > plain_T).detach())
