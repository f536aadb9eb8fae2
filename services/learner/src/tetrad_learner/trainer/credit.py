"""Credit: from rewards and values to the advantage of each trained token, and the critic's targets.

Owns which tokens advantages are made and normalized over. The formulas are tetrad_algorithms'. Must not know of models.
"""

# N samples of the step, on all ranks · S samples of this rank · K trained tokens of this rank

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tetrad_algorithms.advantages import (
    AdvantageOptions,
    Advantages,
    GrpoSingleton,
    GrpoStd,
    Outcomes,
    estimators,
    normalize_over_batch,
)
from tetrad_learner.trainer.algorithm_options import AlgorithmOptions
from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.ranks import Ranks
from tetrad_learner.trainer.rewards import ShapedRewards
from tetrad_learner.trainer.tokens import TrainedTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """What each trained token is worth."""

    advantages_K: Tensor
    """float64[K]; 0 where a token is masked by the correction."""
    returns_K: Tensor | None
    """float64[K]: targets of the critic; None without one."""
    keep_K: Tensor
    """bool[K]: False where a token is masked by the correction."""
    metrics: dict[str, float]
    """Equal on all ranks."""

    def by_sample(self, tokens: TrainedTokens, sample_index: NDArray[np.int32]) -> NDArray[np.float32]:
        """float32[S]: mean over the tokens of each sample that the loss keeps; NaN where it keeps none."""
        place_S = np.argsort(sample_index)
        owner_K = np.searchsorted(sample_index, tokens.sample_K[self.keep_K].numpy(), sorter=place_S)
        sums = np.bincount(owner_K, weights=self.advantages_K[self.keep_K].numpy(), minlength=len(sample_index))
        counts = np.bincount(owner_K, minlength=len(sample_index))
        means = np.full(len(sample_index), np.nan, np.float32)
        means[place_S] = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        return means


class CreditAssigner:
    """Knows the configured estimator; raises at once for a name that is not registered."""

    def __init__(self, options: AlgorithmOptions, ranks: Ranks) -> None:
        self._name = options.advantage_estimator
        self._estimator = estimators.get(options.advantage_estimator)
        self._is_normalized = options.advantage_batch_normalize
        self._options = AdvantageOptions(
            grpo_std=GrpoStd(options.grpo_std),
            grpo_std_epsilon=options.grpo_std_epsilon,
            grpo_singleton=GrpoSingleton(options.grpo_singleton),
            gamma=options.gamma,
            lambd=options.lambd,
        )
        self._ranks = ranks

    def assign(
        self,
        batch: StepBatch,
        tokens: TrainedTokens,
        rewards: ShapedRewards,
        *,
        values_K: Tensor | None,
        keep_K: Tensor,
    ) -> Credit:
        """Estimate over whole samples, then normalize over the tokens that the loss keeps; collective.

        A token that the correction masks is still an action of its sample: without it, rewards would be discounted
        over fewer tokens, and one on the last token would be lost.
        """
        found = self._estimator(
            Outcomes(
                rewards_N=rewards.rewards_N,
                group_N=torch.tensor(batch.group, dtype=torch.int64),
                sample_T=tokens.sample_K,
                token_rewards_T=rewards.token_rewards_K,
                values_T=values_K,
                sum_over_ranks=self._ranks.sum,
            ),
            self._options,
        )
        if values_K is not None and found.returns_T is None:
            raise ValueError(f"advantage_estimator {self._name!r} gives a critic no returns; leave the critic out")
        kept = found.token_T[keep_K]
        figures = self._figures(kept)
        if self._is_normalized:
            kept = normalize_over_batch(kept, sum_over_ranks=self._ranks.sum)
        advantages_K = torch.zeros_like(found.token_T)
        advantages_K[keep_K] = kept
        rewards_mean = {"final_rewards": float(rewards.rewards_N.mean())}
        return Credit(
            advantages_K=advantages_K,
            returns_K=found.returns_T,
            keep_K=keep_K,
            metrics=figures | rewards_mean | rewards.metrics | _warnings(found),
        )

    def _figures(self, kept: Tensor) -> dict[str, float]:
        """Moments over the tokens of all ranks, before normalization."""
        sums = torch.stack([kept.new_tensor(float(len(kept))), kept.sum(), kept.abs().sum()])
        count, total, absolute = self._ranks.sum(sums).tolist()
        mean = total / max(1.0, count)
        squares = float(self._ranks.sum((kept - mean).square().sum()))
        return {
            "advantages_mean": mean,
            "advantages_abs_mean": absolute / max(1.0, count),
            "advantages_std": (squares / max(1.0, count)) ** 0.5,
        }


def _warnings(found: Advantages) -> dict[str, float]:
    return {"singleton_groups": float(found.singleton_groups), "flat_groups": float(found.flat_groups)}
