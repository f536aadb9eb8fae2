"""Covariance losses: a few tokens drive the collapse of the entropy, and are held back.

The Entropy Mechanism of RL (arXiv:2505.22617): the entropy falls by the covariance of log-probability and advantage.
Which tokens are held back is chosen once per mini-batch over all its tokens on all ranks, from the log-probabilities
before the step's first update, so that the choice cannot depend on how the mini-batch was cut.
"""

# T tokens of the mini-batch on this rank · A the same on all ranks

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from tetrad_algorithms.losses.tokens import (
    LossOptions,
    PolicyTokens,
    TokenLoss,
    clipped_surrogate,
    policy_losses,
    ratio,
)
from tetrad_algorithms.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionInputs:
    """What a selection may look at: this rank's tokens of one mini-batch."""

    logprobs_T: Tensor
    """Log-probability of each token before the step's first update."""
    advantages_T: Tensor
    sample_T: Tensor
    """int64[T]: sample of each token in the step."""
    position_T: Tensor
    """int64[T]: position of each token in its sample."""
    seed: int
    """Of the run and the step, for selections at random."""
    gather: Callable[[Tensor], Tensor] = lambda own_T: own_T
    """Concatenates the tensors of all ranks; called equally often on each."""


Selection = Callable[[SelectionInputs, LossOptions], Tensor]
"""Returns bool[T]: the tokens that its loss treats apart."""

selections: Registry[Selection] = Registry("trainer.algorithm.policy_loss_type")


@policy_losses.register("clip_cov")
def clip_cov(tokens: PolicyTokens, options: LossOptions) -> TokenLoss:
    """`regular`, but chosen tokens cost nothing and so have no gradient (Clip-Cov, arXiv:2505.22617, eqs. 10–11).

    >>> tokens = PolicyTokens(
    ...     learner_logprobs_T=torch.tensor([1.1, 1.1]).log(),
    ...     old_logprobs_T=torch.zeros(2),
    ...     rollout_logprobs_T=torch.zeros(2),
    ...     advantages_T=torch.ones(2),
    ...     sample_T=torch.zeros(2),
    ...     selected_T=torch.tensor([True, False]),
    ... )
    >>> clip_cov(tokens, LossOptions())
    TokenLoss(loss_T=tensor([ 0.0000, -1.1000]), is_clipped_T=tensor([ True, False]))
    """
    selected_T = _chosen(tokens)
    ratio_T = ratio(tokens.learner_logprobs_T, tokens.old_logprobs_T)
    once = clipped_surrogate(ratio_T, tokens.advantages_T, low=options.eps_clip_low, high=options.eps_clip_high)
    return TokenLoss(
        loss_T=torch.where(selected_T, torch.zeros_like(once.loss_T), once.loss_T),
        is_clipped_T=once.is_clipped_T | selected_T,
    )


@policy_losses.register("kl_cov")
def kl_cov(tokens: PolicyTokens, options: LossOptions) -> TokenLoss:
    """−ρA, and for chosen tokens + β |log π − log π_old| (KL-Cov, arXiv:2505.22617, eqs. 12–13); nothing is clipped.

    >>> tokens = PolicyTokens(
    ...     learner_logprobs_T=torch.tensor([-1.0, -1.0]),
    ...     old_logprobs_T=torch.tensor([-1.5, -1.5]),
    ...     rollout_logprobs_T=torch.zeros(2),
    ...     advantages_T=torch.zeros(2),
    ...     sample_T=torch.zeros(2),
    ...     selected_T=torch.tensor([True, False]),
    ... )
    >>> kl_cov(tokens, LossOptions(kl_cov_coef=2.0)).loss_T
    tensor([1., -0.])
    """
    selected_T = _chosen(tokens)
    loss_T = -ratio(tokens.learner_logprobs_T, tokens.old_logprobs_T) * tokens.advantages_T
    distance_T = (tokens.learner_logprobs_T - tokens.old_logprobs_T).abs()
    penalised_T = loss_T + options.kl_cov_coef * distance_T
    return TokenLoss(loss_T=torch.where(selected_T, penalised_T, loss_T), is_clipped_T=selected_T)


@selections.register("clip_cov")
def choose_clip_cov(inputs: SelectionInputs, options: LossOptions) -> Tensor:
    """Choose max(1, ⌊share · tokens⌋) at random of those whose covariance lies between the bounds."""
    everyone = _Everyone.of(inputs)
    is_candidate_A = (everyone.covariance_A > options.clip_cov_lb) & (everyone.covariance_A < options.clip_cov_ub)
    return everyone.first(is_candidate_A, order_A=everyone.key_A, share=options.clip_cov_ratio, of=inputs)


@selections.register("kl_cov")
def choose_kl_cov(inputs: SelectionInputs, options: LossOptions) -> Tensor:
    """Choose the max(1, ⌊share · tokens⌋) tokens of the largest covariance; of equal ones any, but the same always."""
    everyone = _Everyone.of(inputs)
    all_A = torch.ones_like(everyone.key_A, dtype=torch.bool)
    # The tokens stand in the order of their keys, so a stable sort settles equal covariances by them.
    order_A = torch.argsort(torch.argsort(everyone.covariance_A, descending=True, stable=True))
    return everyone.first(all_A, order_A=order_A, share=options.kl_cov_frac, of=inputs)


@dataclass(frozen=True, slots=True)
class _Everyone:
    """The tokens of all ranks in an order that does not depend on which rank has which."""

    key_A: Tensor
    covariance_A: Tensor

    @classmethod
    def of(cls, inputs: SelectionInputs) -> _Everyone:
        key_A = inputs.gather(_keys(inputs))
        pairs_A2 = inputs.gather(torch.stack([inputs.advantages_T.double(), inputs.logprobs_T.double()], dim=1))
        order_A = torch.argsort(key_A)
        advantages_A, logprobs_A = pairs_A2[order_A].unbind(1)
        covariance_A = (advantages_A - advantages_A.mean()) * (logprobs_A - logprobs_A.mean())
        return cls(key_A[order_A], covariance_A)

    def first(self, is_candidate_A: Tensor, *, order_A: Tensor, share: float, of: SelectionInputs) -> Tensor:
        """Return bool[T]: this rank's tokens among the first candidates."""
        count = max(1, int(share * len(self.key_A)))
        candidates = torch.nonzero(is_candidate_A).flatten()
        chosen = candidates[torch.argsort(order_A[candidates])[:count]]
        return torch.isin(_keys(of), self.key_A[chosen])


# Multipliers of splitmix64's finalizer (Steele, Lea, Flood, OOPSLA 2014), as two's complement.
_STEP: Final = 0x9E3779B97F4A7C15 - 2**64
_MIX_1: Final = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2: Final = 0x94D049BB133111EB - 2**64


def _keys(inputs: SelectionInputs) -> Tensor:
    """int64[T]: a number for each token that looks random and depends on seed, sample and position alone."""
    mixed_T = _mix(inputs.sample_T.long() + _mix(torch.full_like(inputs.sample_T, inputs.seed, dtype=torch.int64)))
    return _mix(mixed_T + inputs.position_T.long())


def _mix(values_T: Tensor) -> Tensor:
    values_T = values_T + _STEP
    values_T = (values_T ^ _shifted(values_T, 30)) * _MIX_1
    values_T = (values_T ^ _shifted(values_T, 27)) * _MIX_2
    return values_T ^ _shifted(values_T, 31)


def _shifted(values_T: Tensor, bits: int) -> Tensor:
    """Shift right as if unsigned."""
    shifted_T: Tensor = (values_T >> bits) & (2 ** (64 - bits) - 1)
    return shifted_T


def _chosen(tokens: PolicyTokens) -> Tensor:
    if tokens.selected_T is None:
        raise ValueError("a covariance loss needs the tokens that its selection chose; none were given")
    return tokens.selected_T
