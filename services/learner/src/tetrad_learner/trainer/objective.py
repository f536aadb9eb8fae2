"""The objective of one micro-batch: policy loss, KL loss and entropy bonus, weighted per token.

Owns how the terms add up; the formulas are tetrad_algorithms'. Pure: tensors in, tensors out. A term's weight is
1 / (a denominator over the whole mini-batch), so that the gradients of micro-batches simply add.
"""

# T trained tokens of the micro-batch

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tetrad_algorithms.kl import kl_estimators
from tetrad_algorithms.losses import LossOptions, PolicyTokens, policy_losses
from tetrad_learner.trainer.options import AlgorithmOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """What is known of trained tokens before the forward pass; all of one length, on the device."""

    token_ids: Tensor
    """int64[T]"""
    sample: Tensor
    """int64[T]: sample of each token, index in the step's batch."""
    advantages: Tensor
    """float32[T]"""
    weights: Tensor
    """float32[T]: the reduction's weight of each token."""
    rollout_logprobs: Tensor
    """float32[T]: from the rollout engine."""
    old_logprobs: Tensor | None = None
    """float32[T]: of the policy before the step's first update; None means the current ones, without gradient."""
    reference_logprobs: Tensor | None = None
    """float32[T]: of the reference model; None where no KL loss is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroLoss:
    """The loss of a micro-batch and what is worth knowing about it."""

    total: Tensor
    """Scalar with gradient; summed over micro-batches and ranks it is the loss of the mini-batch."""
    policy: Tensor
    """Scalar: the policy term alone."""
    kl: Tensor
    """Scalar: the KL term before its coefficient; 0 without a reference."""
    num_clipped: Tensor
    """Scalar: tokens where the clip was active."""
    mismatch_T: Tensor
    """float32[T]: |old − rollout log-probability|."""


class Objective:
    """The configured loss; raises UnknownNameError at once for a name that is not registered."""

    def __init__(self, options: AlgorithmOptions) -> None:
        self._policy_loss = policy_losses.get(options.policy_loss_type)
        self._kl = kl_estimators.get(options.kl_estimator_type)
        self._kl_coef = options.kl_loss_coef
        self._entropy_coef = options.entropy_loss_coef
        self._clip = LossOptions(eps_clip_low=options.eps_clip_low, eps_clip_high=options.eps_clip_high)

    def __call__(self, logprobs_T: Tensor, entropy_T: Tensor, facts: TokenFacts) -> MicroLoss:
        """Return Σ w · (policy loss + c_kl · KL − c_entropy · H)."""
        old_T = logprobs_T.detach() if facts.old_logprobs is None else facts.old_logprobs
        terms = self._policy_loss(_policy_tokens(logprobs_T, old_T, facts), self._clip)
        policy = (facts.weights * terms.loss_T).sum()
        total, kl = policy, logprobs_T.new_zeros(())
        if facts.reference_logprobs is not None:
            kl = (facts.weights * self._kl(logprobs_T, facts.reference_logprobs)).sum()
            total = total + self._kl_coef * kl
        if self._entropy_coef:
            total = total - self._entropy_coef * (facts.weights * entropy_T).sum()
        return MicroLoss(
            total=total,
            policy=policy.detach(),
            kl=kl.detach(),
            num_clipped=terms.is_clipped_T.sum(),
            mismatch_T=(old_T - facts.rollout_logprobs).abs(),
        )


def _policy_tokens(logprobs_T: Tensor, old_T: Tensor, facts: TokenFacts) -> PolicyTokens:
    return PolicyTokens(
        learner_logprobs_T=logprobs_T,
        old_logprobs_T=old_T,
        rollout_logprobs_T=facts.rollout_logprobs,
        advantages_T=facts.advantages,
        sample_T=facts.sample,
    )
