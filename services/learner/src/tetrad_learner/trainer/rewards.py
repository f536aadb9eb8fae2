"""Rewards as the estimators see them: by token, less the divergence from the reference where that is asked for.

Owns the coefficient of the KL penalty, the one number of the algorithm that moves over the run. Must not know of
models or advantages.
"""

# N samples of the step, on all ranks · K trained tokens of this rank

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tetrad_algorithms.advantages.discounting import is_last
from tetrad_algorithms.kl import kl_estimators
from tetrad_algorithms.kl_control import AdaptiveKl, FixedKl, KlControl
from tetrad_learner.trainer.algorithm_options import AlgorithmOptions
from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.errors import NonFiniteError
from tetrad_learner.trainer.passes import Known
from tetrad_learner.trainer.ranks import Ranks
from tetrad_learner.trainer.tokens import TrainedTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapedRewards:
    """What an estimator is given."""

    rewards_N: Tensor
    """float64[N]: total reward of every sample."""
    token_rewards_K: Tensor | None
    """float64[K]: None where the whole reward is on the last trained token."""
    metrics: dict[str, float]
    """Equal on all ranks."""


class RewardShaper:
    """Subtracts coefficient · KL(old ‖ reference) from the reward of each trained token, if the run asks for it."""

    def __init__(self, options: AlgorithmOptions, ranks: Ranks) -> None:
        self._is_on = options.use_kl_in_reward
        self._estimate = kl_estimators.get(options.kl_estimator_type)
        self._control = control(options)
        self._ranks = ranks

    @property
    def coefficient(self) -> float:
        """Weight of the divergence in the next step."""
        return self._control.coef

    def restore(self, coefficient: float) -> None:
        """Go on with the coefficient of a checkpoint; a fixed one stays what the run file says."""
        if isinstance(self._control, AdaptiveKl):
            self._control = dataclasses.replace(self._control, coef=coefficient)

    def shape(self, batch: StepBatch, tokens: TrainedTokens, known: Known) -> ShapedRewards:
        """Return the rewards of this step, and move the coefficient for the next; collective."""
        rewards_N = torch.tensor(batch.rewards, dtype=torch.float64)
        if not self._is_on:
            return ShapedRewards(rewards_N=rewards_N, token_rewards_K=None, metrics={})
        assert known.reference is not None
        old_K = tokens.rollout_K if known.old is None else tokens.taken(known.old)
        kl_K = self._estimate(old_K, tokens.taken(known.reference))
        on_last_K = rewards_N[tokens.sample_K].masked_fill(~is_last(tokens.sample_K), 0.0)
        sums_2N = torch.zeros(2, len(rewards_N), dtype=torch.float64)
        sums_2N[0].index_add_(0, tokens.sample_K, kl_K)
        sums_2N[1].index_add_(0, tokens.sample_K, torch.ones_like(kl_K))
        kl_N, count_N = self._ranks.sum(sums_2N)
        shaped = ShapedRewards(
            rewards_N=rewards_N - self.coefficient * kl_N,
            token_rewards_K=on_last_K - self.coefficient * kl_K,
            metrics=self._figures(kl_K, tokens.sample_K, kl_N=kl_N, count_N=count_N),
        )
        kl = shaped.metrics["reward_kl"]
        if not math.isfinite(kl):
            raise NonFiniteError(what="divergence from the reference", value=kl, step=batch.step, mini_batch=-1)
        self._control = self._control.updated(kl, num_samples=len(rewards_N))
        return shaped

    def _figures(self, kl_K: Tensor, sample_K: Tensor, *, kl_N: Tensor, count_N: Tensor) -> dict[str, float]:
        """Means over the samples that have trained tokens, of each one's mean and of its largest divergence."""
        top_N = self._ranks.max(torch.full_like(kl_N, -torch.inf).scatter_reduce(0, sample_K, kl_K, "amax"))
        has_tokens_N = count_N > 0
        num_samples = max(1, int(has_tokens_N.sum()))
        return {
            "reward_kl": float((kl_N / count_N)[has_tokens_N].sum()) / num_samples,
            "reward_kl_max": float(top_N[has_tokens_N].sum()) / num_samples,
            "kl_coef": self.coefficient,
        }


def control(options: AlgorithmOptions) -> KlControl:
    """The controller that the run begins with."""
    if options.kl_reward.is_adaptive:
        settings = options.kl_reward
        return AdaptiveKl(coef=options.kl_loss_coef, target=settings.target, horizon=settings.horizon)
    return FixedKl(coef=options.kl_loss_coef)
