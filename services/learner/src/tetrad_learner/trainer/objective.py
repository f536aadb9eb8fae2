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
from tetrad_learner.trainer.algorithm_options import AlgorithmOptions
from tetrad_learner.trainer.facts import TokenFacts


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
    old_kl: Tensor
    """Scalar: Σ (old − current log-probability), k1 of KL(old ‖ current)."""


class Objective:
    """The configured loss; raises UnknownNameError at once for a name that is not registered."""

    def __init__(self, options: AlgorithmOptions) -> None:
        self._policy_loss = policy_losses.get(options.policy_loss_type)
        self._kl = kl_estimators.get(options.kl_estimator_type)
        self._kl_coef = options.kl_loss_coef
        self._entropy_coef = options.entropy_loss_coef
        self._options = loss_options(options)

    def __call__(self, logprobs_T: Tensor, entropy_T: Tensor, facts: TokenFacts) -> MicroLoss:
        """Return Σ w · (importance · policy loss + c_kl · KL − c_entropy · H)."""
        old_T = logprobs_T.detach() if facts.old_logprobs is None else facts.old_logprobs
        terms = self._policy_loss(_policy_tokens(logprobs_T, old_T, facts), self._options)
        # Only the policy loss was sampled from the rollout engine's distribution for its own sake.
        loss_T = terms.loss_T if facts.importance is None else facts.importance * terms.loss_T
        policy = (facts.weights * loss_T).sum()
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
            old_kl=(old_T - logprobs_T.detach()).double().sum(),
        )


def loss_options(options: AlgorithmOptions) -> LossOptions:
    """The settings that the losses read, under their own names."""
    return LossOptions(
        eps_clip_low=options.eps_clip_low,
        eps_clip_high=options.eps_clip_high,
        clip_ratio_c=options.clip_ratio_c,
        sapo_tau_pos=options.sapo_tau_pos,
        sapo_tau_neg=options.sapo_tau_neg,
        cispo_eps_clip_low=options.cispo_eps_clip_low,
        cispo_eps_clip_high=options.cispo_eps_clip_high,
        clip_cov_ratio=options.clip_cov_ratio,
        clip_cov_lb=options.clip_cov_lb,
        clip_cov_ub=options.clip_cov_ub,
        kl_cov_frac=options.kl_cov_frac,
        kl_cov_coef=options.kl_cov_coef,
    )


def _policy_tokens(logprobs_T: Tensor, old_T: Tensor, facts: TokenFacts) -> PolicyTokens:
    return PolicyTokens(
        learner_logprobs_T=logprobs_T,
        old_logprobs_T=old_T,
        rollout_logprobs_T=facts.rollout_logprobs,
        advantages_T=facts.advantages,
        sample_T=facts.sample,
        selected_T=facts.selected,
    )
