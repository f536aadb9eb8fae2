"""Correction of the difference between the rollout engine and the learner: weights and masks per token.

All ratios are π_old / π_rollout of tokens that the rollout engine drew, π_old being the learner's own log-probabilities
before the step's first update. Owns what is weighed and masked, and the figures about it. Samples are whole on a rank.
"""

# T trained tokens of this rank · N samples of this rank · A any tokens

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

import torch
from torch import Tensor

from tetrad_algorithms.losses.tokens import MAX_LOG_RATIO


class RatioLevel(StrEnum):
    """Over what a truncated importance weight is taken."""

    OFF = "off"
    TOKEN = "token"  # noqa: S105  # a token of text
    SEQUENCE = "sequence"


class SequenceMask(StrEnum):
    """How the ratios of a sequence become the one that it is masked by."""

    OFF = "off"
    PRODUCT = "product"
    GEOMETRIC = "geometric"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A range of ratios; None is no bound."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionOptions:
    """What is weighed and what is masked."""

    level: RatioLevel = RatioLevel.OFF
    token_clip_high: float = 2.0
    """Largest weight of a token."""
    sequence_clip_high: float = 5.0
    """Largest weight of a sequence."""
    token_mask: Bounds = field(default_factory=Bounds)
    """Tokens outside are masked (IcePop)."""
    sequence_mask: SequenceMask = SequenceMask.OFF
    sequence_bounds: Bounds = field(default_factory=Bounds)
    """Sequences outside are masked."""
    outlier: Bounds = field(default_factory=Bounds)
    """A sequence with a single token outside is masked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What becomes of each token."""

    weight_T: Tensor
    """float64[T]: factor of the policy loss, 1 where nothing is weighed; no gradient."""
    keep_T: Tensor
    """bool[T]: False where the token leaves the loss and its denominators."""
    shares: dict[str, Tensor]
    """bool[T] each, by the name of a metric: the tokens that a bound has touched."""


def correct(old_T: Tensor, rollout_T: Tensor, sample_T: Tensor, options: CorrectionOptions) -> Correction:
    """Weigh and mask: outlier guard, truncated importance sampling, sequence mask, token mask.

    Truncated importance sampling is Ionides' (J. Comp. Graph. Stat. 17, 2008): min(ρ, C), per token or with the product
    over the sequence; the token mask is IcePop's. Every bound looks at all trained tokens, so that the order of the
    masks changes nothing.

    A token eight times as likely for the learner as for the engine counts twice, and no more:

    >>> found = correct(
    ...     torch.tensor([2.0, 8.0]).log(),
    ...     torch.zeros(2),
    ...     torch.tensor([0, 1]),
    ...     CorrectionOptions(level=RatioLevel.TOKEN, outlier=Bounds(high=100.0)),
    ... )
    >>> found.weight_T, found.keep_T
    (tensor([2., 2.], dtype=torch.float64), tensor([True, True]))
    """
    log_T = (old_T.double() - rollout_T.double()).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    sequences = _Sequences.of(log_T, sample_T)
    weight_T, shares = _weigh(log_T, sequences, options)
    for name, (is_low_T, is_high_T) in _masks(log_T, sequences, options).items():
        shares |= {f"{name}_under_low": is_low_T, f"{name}_over_high": is_high_T}
    masked = [touched_T for name, touched_T in shares.items() if not name.startswith("tis_")]
    keep_T = ~torch.stack(masked).any(0) if masked else torch.ones_like(sample_T, dtype=torch.bool)
    return Correction(weight_T=weight_T, keep_T=keep_T, shares=shares)


def ratio_figures(old_A: Tensor, rollout_A: Tensor) -> dict[str, float]:
    """Return what the ratios of any tokens look like, with the names of SkyRL; {} for none.

    The effective sample size is Kish's, as a share: (Σρ)² / (n Σρ²); 1 where both policies agree.

    >>> ratio_figures(torch.zeros(4), torch.zeros(4))["is_ratio_ess"]
    1.0
    """
    if not len(old_A):
        return {}
    ratio_A = (old_A.double() - rollout_A.double()).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    return {
        "is_ratio_mean": float(ratio_A.mean()),
        "is_ratio_std": float(ratio_A.std(correction=0)),
        "is_ratio_max": float(ratio_A.max()),
        "is_ratio_min": float(ratio_A.min()),
        "is_ratio_ess": float(ratio_A.sum() ** 2 / (len(ratio_A) * ratio_A.square().sum())),
    }


@dataclass(frozen=True, slots=True)
class _Sequences:
    """Logarithms of ratios over whole sequences, at each of their tokens."""

    product_T: Tensor
    geometric_T: Tensor
    index_T: Tensor
    count: int

    @classmethod
    def of(cls, log_T: Tensor, sample_T: Tensor) -> _Sequences:
        _, index_T, count_N = torch.unique(sample_T, return_inverse=True, return_counts=True)
        sum_N = torch.zeros(len(count_N), dtype=torch.float64, device=log_T.device).index_add(0, index_T, log_T)
        product_T = sum_N[index_T].clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        return cls(product_T, (sum_N / count_N)[index_T], index_T, len(count_N))

    def any(self, is_T: Tensor) -> Tensor:
        """bool[T]: whether any token of the same sequence is."""
        found_N = torch.zeros(self.count, dtype=torch.int64, device=is_T.device).index_add(0, self.index_T, is_T.long())
        return (found_N > 0)[self.index_T]


def _weigh(log_T: Tensor, sequences: _Sequences, options: CorrectionOptions) -> tuple[Tensor, dict[str, Tensor]]:
    match options.level:
        case RatioLevel.OFF:
            return torch.ones_like(log_T), {}
        case RatioLevel.TOKEN:
            ratio_T, high, name = log_T.exp(), options.token_clip_high, "tis_token_clip_high"
        case RatioLevel.SEQUENCE:
            ratio_T, high, name = sequences.product_T.exp(), options.sequence_clip_high, "tis_seq_clip_high"
        case _:
            assert_never(options.level)
    return ratio_T.clamp(max=high), {name: ratio_T > high}


def _masks(log_T: Tensor, sequences: _Sequences, options: CorrectionOptions) -> dict[str, tuple[Tensor, Tensor]]:
    """Return, by name, the tokens below and above each pair of bounds."""
    low_T, high_T = _outside(log_T, options.outlier)
    masks = {}
    if options.outlier != Bounds():
        masks["outlier_seq"] = (sequences.any(low_T), sequences.any(high_T))
    match options.sequence_mask:
        case SequenceMask.OFF:
            pass
        case SequenceMask.PRODUCT:
            masks["product_sequence_mask"] = _outside(sequences.product_T, options.sequence_bounds)
        case SequenceMask.GEOMETRIC:
            masks["geo_sequence_mask"] = _outside(sequences.geometric_T, options.sequence_bounds)
        case _:
            assert_never(options.sequence_mask)
    if options.token_mask != Bounds():
        masks["token_mask"] = _outside(log_T, options.token_mask)
    return masks


def _outside(log_T: Tensor, bounds: Bounds) -> tuple[Tensor, Tensor]:
    ratio_T, nowhere_T = log_T.exp(), torch.zeros_like(log_T, dtype=torch.bool)
    low_T = nowhere_T if bounds.low is None else ratio_T < bounds.low
    high_T = nowhere_T if bounds.high is None else ratio_T > bounds.high
    return low_T, high_T
