"""Estimators of KL(policy ‖ reference) from the log-probabilities of sampled tokens.

Schulman, "Approximating KL divergence" (joschu.net/blog/kl-approx.html), with d = log π − log π_ref. Gradients flow
through the first argument; none is detached. As a loss, k1's gradient has zero expectation, k2's is that of the
reverse KL, k3's is biased when off-policy.
"""

# T tokens

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import Tensor

from tetrad_algorithms.registry import Registry

# Clamped before exp(): a token that the reference finds impossible would overflow to inf.
MAX_LOG_RATIO: Final = 20.0
# k3 grows as exp(−d); one token must not outweigh the batch. Same bound as verl's low_var_kl and SkyRL's k3.
MAX_K3: Final = 10.0

KlEstimator = Callable[[Tensor, Tensor], Tensor]
"""(learner_logprobs_T, reference_logprobs_T) → the estimate of each token."""

kl_estimators: Registry[KlEstimator] = Registry("trainer.algorithm.kl_estimator_type")


@kl_estimators.register("k1")
def k1(learner_logprobs_T: Tensor, reference_logprobs_T: Tensor) -> Tensor:
    """Return d: unbiased, high variance, may be negative."""
    return learner_logprobs_T - reference_logprobs_T


@kl_estimators.register("abs")
def absolute(learner_logprobs_T: Tensor, reference_logprobs_T: Tensor) -> Tensor:
    """Return |d|."""
    return (learner_logprobs_T - reference_logprobs_T).abs()


@kl_estimators.register("k2")
def k2(learner_logprobs_T: Tensor, reference_logprobs_T: Tensor) -> Tensor:
    """Return d² / 2: low variance, biased in value, right in gradient."""
    return 0.5 * (learner_logprobs_T - reference_logprobs_T).square()


@kl_estimators.register("k3")
def k3(learner_logprobs_T: Tensor, reference_logprobs_T: Tensor) -> Tensor:
    """Return exp(−d) + d − 1: unbiased, low variance, never negative.

    >>> import torch
    >>> k3(torch.tensor([-1.0, -1.0]), torch.tensor([-1.0, -2.0]))
    tensor([0.0000, 0.3679])
    """
    minus_d_T = (reference_logprobs_T - learner_logprobs_T).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return (minus_d_T.exp() - minus_d_T - 1.0).clamp(-MAX_K3, MAX_K3)
