"""Normalization over all trained tokens of a step, on all ranks.

Owns the statistics and both scalings. Sums over ranks are made by the caller's function, so that the result does not
depend on how samples lie on ranks; every function here calls it twice on every rank, also on one without tokens.
"""

# T trained tokens of this rank

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from tetrad_algorithms.advantages.outcomes import SumOverRanks

# Of the variance, not of the deviation; the same in SkyRL.
WHITENING_EPSILON: Final = 1e-8
SMALLEST_MEAN_SQUARE: Final = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMoments:
    """Moments over the trained tokens of all ranks; float64 scalars, equal on all ranks."""

    count: Tensor
    mean: Tensor
    squares: Tensor
    """Summed squares of (value − mean)."""


def token_moments(token_T: Tensor, *, sum_over_ranks: SumOverRanks) -> TokenMoments:
    """Count, mean and summed squares, in two passes: squares of a large mean would swallow a small spread."""
    token_T = token_T.detach().double()
    count, total = sum_over_ranks(torch.stack([token_T.new_tensor(float(len(token_T))), token_T.sum()])).unbind()
    mean = total / count.clamp(min=1)
    return TokenMoments(count=count, mean=mean, squares=sum_over_ranks((token_T - mean).square().sum()))


def whiten(token_T: Tensor, moments: TokenMoments) -> Tensor:
    """Return (x − mean) · rsqrt(var + 1e-8) with the unbiased variance, as `masked_whiten` of SkyRL and TRL.

    A single token has no variance: it becomes 0.

    >>> import torch
    >>> values_T = torch.tensor([1.0, 2.0, 3.0])
    >>> whiten(values_T, token_moments(values_T, sum_over_ranks=lambda sums: sums)).round(decimals=4)
    tensor([-1.,  0.,  1.], dtype=torch.float64)
    """
    variance = moments.squares / (moments.count - 1).clamp(min=1)
    return (token_T.detach().double() - moments.mean) * (variance + WHITENING_EPSILON).rsqrt()


def normalize_over_batch(token_T: Tensor, *, sum_over_ranks: SumOverRanks) -> Tensor:
    """Return (x − mean) / rms(x − mean) over the trained tokens of the batch: `advantage_batch_normalize`.

    Only trained tokens count. (SkyRL 0.4 takes its mean over the padding as well, so that there results depend on the
    longest response.) The mean square is clamped to 1e-8: equal values become 0.

    >>> normalize_over_batch(torch.tensor([0.0, 0.0, 4.0, 4.0]), sum_over_ranks=lambda sums: sums)
    tensor([-1., -1.,  1.,  1.], dtype=torch.float64)
    """
    moments = token_moments(token_T, sum_over_ranks=sum_over_ranks)
    mean_square = moments.squares / moments.count.clamp(min=1)
    return (token_T.detach().double() - moments.mean) * mean_square.clamp(min=SMALLEST_MEAN_SQUARE).rsqrt()
