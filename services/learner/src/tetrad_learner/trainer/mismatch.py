"""How far the learner and the rollout engine disagree about the same tokens, and what is done about it.

Owns the figures over all ranks. The rules are tetrad_algorithms'. Must not know of rewards or losses.
"""

# K trained tokens of this rank · A trained tokens of all ranks

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import numpy as np
import torch
from torch import Tensor

from tetrad_algorithms.advantages.discounting import is_last
from tetrad_algorithms.correction import (
    Bounds,
    Correction,
    CorrectionOptions,
    RatioLevel,
    SequenceMask,
    correct,
    ratio_figures,
)
from tetrad_learner.trainer.algorithm_options import CorrectionSettings
from tetrad_learner.trainer.ranks import Ranks
from tetrad_learner.trainer.tokens import TrainedTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the correction says of each token."""

    weight_K: Tensor | None
    """float64[K]: factor of the policy loss; None means 1."""
    keep_K: Tensor
    """bool[K]: whether the loss keeps it."""
    metrics: dict[str, float]
    """Equal on all ranks."""


class MismatchJudge:
    """Knows the configured correction."""

    def __init__(self, settings: CorrectionSettings, ranks: Ranks) -> None:
        self._settings, self._ranks = settings, ranks
        self._options = correction_options(settings)

    @property
    def masks(self) -> bool:
        """Whether tokens may be masked."""
        return self._settings.masks

    def judge(self, tokens: TrainedTokens, *, old_T: Tensor | None) -> Verdict:
        """Weigh and mask; collective. `old_T` is needed where the correction is on."""
        if not self._settings.is_on:
            keep_K = torch.ones_like(tokens.sample_K, dtype=torch.bool)
            return Verdict(weight_K=None, keep_K=keep_K, metrics={})
        assert old_T is not None
        found = correct(tokens.taken(old_T), tokens.rollout_K, tokens.sample_K, self._options)
        is_weighed = self._options.level is not RatioLevel.OFF
        return Verdict(
            weight_K=found.weight_T if is_weighed else None,
            keep_K=found.keep_T,
            metrics=self._shares(found, tokens.sample_K),
        )

    def figures(self, tokens: TrainedTokens, learner_T: Tensor) -> dict[str, float]:
        """Return distances and ratios over the tokens of all ranks; collective."""
        # float32 halves what travels, and these are only looked at.
        log_ratio_A = self._ranks.gather((tokens.taken(learner_T) - tokens.rollout_K).float())
        if not len(log_ratio_A):
            return {}
        distance_A = np.abs(log_ratio_A.numpy())
        ratios = ratio_figures(log_ratio_A, torch.zeros_like(log_ratio_A))
        return {
            "logprob_diff_mean": float(distance_A.mean(dtype=np.float64)),
            "logprob_diff_std": float(distance_A.std(dtype=np.float64)),
            "logprob_diff_p99": float(np.quantile(distance_A, 0.99)),
            "logprob_diff_max": float(distance_A.max()),
            **{f"correction_{name}": value for name, value in ratios.items()},
        }

    def _shares(self, found: Correction, sample_K: Tensor) -> dict[str, float]:
        """What share of tokens, or of sequences where whole ones are meant, each bound has touched."""
        is_last_K = is_last(sample_K)
        touched = found.shares | {"masked_tokens": ~found.keep_T}
        counts = [
            (touched_K & is_last_K if _is_of_sequences(name) else touched_K).sum()
            for name, touched_K in touched.items()
        ]
        sums = torch.stack([*counts, is_last_K.sum(), torch.tensor(len(sample_K))]).double()
        *counted, num_sequences, num_tokens = self._ranks.sum(sums).tolist()
        return {
            f"correction_{name}_ratio": count / max(1.0, num_sequences if _is_of_sequences(name) else num_tokens)
            for name, count in zip(touched, counted, strict=True)
        }


def _is_of_sequences(name: str) -> bool:
    return "seq" in name


def correction_options(settings: CorrectionSettings) -> CorrectionOptions:
    """The same for tetrad_algorithms, with the bounds of the chosen sequence mask."""
    return CorrectionOptions(
        level=RatioLevel(settings.level),
        token_clip_high=settings.token_clip_high,
        sequence_clip_high=settings.sequence_clip_high,
        token_mask=Bounds(low=settings.token_mask_low, high=settings.token_mask_high),
        sequence_mask=SequenceMask(settings.sequence_mask),
        sequence_bounds=_sequence_bounds(settings),
        outlier=Bounds(low=settings.outlier_low, high=settings.outlier_high),
    )


def _sequence_bounds(settings: CorrectionSettings) -> Bounds:
    mask = SequenceMask(settings.sequence_mask)
    match mask:
        case SequenceMask.OFF:
            return Bounds()
        case SequenceMask.PRODUCT:
            return Bounds(low=settings.product_mask_low, high=settings.product_mask_high)
        case SequenceMask.GEOMETRIC:
            return Bounds(low=settings.geo_mask_low, high=settings.geo_mask_high)
        case _:
            assert_never(mask)
