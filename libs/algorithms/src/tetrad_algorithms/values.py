"""The critic's loss, and how much of the returns its values explain.

Owns both formulas. Must not know of models, batches or reductions.
"""

# T trained tokens

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueLoss:
    """A loss before its reduction."""

    loss_T: Tensor
    """Loss of each token, with gradient."""
    is_clipped_T: Tensor
    """bool[T]: where the clipped branch was the larger loss."""


def value_loss(values_T: Tensor, old_values_T: Tensor, returns_T: Tensor, *, clip: float) -> ValueLoss:
    """Clipped squared error (PPO's reference code, arXiv:2005.12729, eq. 2): ½ max((V − R)², (V_clip − R)²).

    V_clip = V_old + clamp(V − V_old, ±clip): a value earns nothing by moving further than that towards its return.

    A value that has moved by 0.5 towards a return of 1 is charged as if it had moved by 0.2:

    >>> value_loss(torch.tensor([0.5]), torch.tensor([0.0]), torch.tensor([1.0]), clip=0.2)
    ValueLoss(loss_T=tensor([0.3200]), is_clipped_T=tensor([True]))
    """
    clipped_values_T = old_values_T + (values_T - old_values_T).clamp(-clip, clip)
    plain_T, clipped_T = (values_T - returns_T).square(), (clipped_values_T - returns_T).square()
    return ValueLoss(loss_T=0.5 * torch.maximum(plain_T, clipped_T), is_clipped_T=(clipped_T > plain_T).detach())


def explained_variance(values_T: Tensor, returns_T: Tensor, *, sum_over_ranks: Callable[[Tensor], Tensor]) -> float:
    """Return 1 − Var(R − V) / Var(R) over the tokens of all ranks: 1 is perfect, 0 is no better than a constant.

    Returns that are all equal have nothing to explain: 0. Calls `sum_over_ranks` twice on every rank.

    >>> explained_variance(
    ...     torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 2.0, 3.0]), sum_over_ranks=lambda sums: sums
    ... )
    1.0
    """
    pairs_2T = torch.stack([returns_T, returns_T - values_T]).detach().double()
    ones = pairs_2T.new_full((1,), float(pairs_2T.shape[1]))
    count, *totals = sum_over_ranks(torch.cat([ones, pairs_2T.sum(1)])).unbind()
    means_2 = torch.stack(totals) / count.clamp(min=1)
    all_squares, left_squares = sum_over_ranks((pairs_2T - means_2[:, None]).square().sum(1)).tolist()
    return 1.0 - left_squares / all_squares if all_squares > 0 else 0.0
