"""What a policy loss is given and what it returns, and the registry of all losses."""

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
    selected_T: Tensor | None = None
    """bool[T]: tokens that the loss's selection chose; None where the loss has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossOptions:
    """Settings of the losses; each reads its own."""

    eps_clip_low: float = 0.2
    """The ratio's gradient stops below 1 - eps_clip_low."""
    eps_clip_high: float = 0.2
    """The ratio's gradient stops above 1 + eps_clip_high."""
    clip_ratio_c: float = 3.0
    """`dual_clip`: most that a token of negative advantage costs, in units of the advantage."""
    sapo_tau_pos: float = 1.0
    """`sapo`: sharpness of the gate for positive advantages."""
    sapo_tau_neg: float = 1.05
    """`sapo`: the same for negative ones."""
    cispo_eps_clip_low: float = 1.0
    """`cispo`: the weight is clipped below at 1 - this; 1 is no clip."""
    cispo_eps_clip_high: float = 4.0
    """`cispo`: the weight is clipped above at 1 + this."""
    clip_cov_ratio: float = 2e-4
    """`clip_cov`: share of the mini-batch's tokens that lose their gradient."""
    clip_cov_lb: float = 1.0
    """`clip_cov`: least covariance of such a token."""
    clip_cov_ub: float = 5.0
    """`clip_cov`: largest covariance of such a token."""
    kl_cov_frac: float = 0.2
    """`kl_cov`: share of the mini-batch's tokens that are penalised."""
    kl_cov_coef: float = 1.0
    """`kl_cov`: coefficient of the penalty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLoss:
    """A loss before its reduction."""

    loss_T: Tensor
    """Loss of each token, with gradient."""
    is_clipped_T: Tensor
    """bool[T]: where the clipped branch was the larger loss, or the token's gradient is stopped or weakened."""


PolicyLoss = Callable[[PolicyTokens, LossOptions], TokenLoss]


def guarded(loss: PolicyLoss, name: str) -> PolicyLoss:
    """Return somebody else's loss with its result checked: a mean over tokens would be broadcast, and train nonsense.

    The checked one raises ValueError with the name and what is wrong.
    """

    def checked(tokens: PolicyTokens, options: LossOptions) -> TokenLoss:
        found = loss(tokens, options)
        if not isinstance(found, TokenLoss):
            raise ValueError(  # noqa: TRY004  # the run file names it: the user's error
                f"loss {name!r} returned {type(found).__name__}; it must return TokenLoss"
            )
        for part, found_T in (("loss_T", found.loss_T), ("is_clipped_T", found.is_clipped_T)):
            if found_T.shape != tokens.learner_logprobs_T.shape:
                raise ValueError(
                    f"loss {name!r}: {part} has shape {tuple(found_T.shape)}; one number for each of the "
                    f"{len(tokens.learner_logprobs_T)} tokens is needed, without any mean over them"
                )
        if tokens.learner_logprobs_T.requires_grad and len(found.loss_T) and not found.loss_T.requires_grad:
            raise ValueError(f"loss {name!r} has no gradient; make it of learner_logprobs_T, without detach()")
        return found

    return checked


policy_losses: Registry[PolicyLoss] = Registry("trainer.algorithm.policy_loss_type", guard=guarded)


def ratio(learner_logprobs_T: Tensor, old_logprobs_T: Tensor) -> Tensor:
    """Return π / π_old of each token, its logarithm clamped to ±20.

    >>> ratio(torch.tensor([-1.0, 90.0]), torch.tensor([-1.0, -1.0]))
    tensor([1.0000e+00, 4.8517e+08])
    """
    return (learner_logprobs_T - old_logprobs_T).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def clipped_surrogate(ratio_T: Tensor, advantages_T: Tensor, *, low: float, high: float) -> TokenLoss:
    """Return −min(ρA, clip(ρ, 1 − low, 1 + high)·A) (PPO, arXiv:1707.06347, eq. 7) of ratios of any kind."""
    plain_T = -ratio_T * advantages_T
    clipped_T = -ratio_T.clamp(1 - low, 1 + high) * advantages_T
    return TokenLoss(loss_T=torch.maximum(plain_T, clipped_T), is_clipped_T=(clipped_T > plain_T).detach())
