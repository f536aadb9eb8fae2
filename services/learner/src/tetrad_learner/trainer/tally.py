"""Sums of what a mini-batch showed, over micro-batches and ranks, and the metrics they become.

Sums are float64 and stay on the device until the mini-batch ends, so that counting never makes the device wait. Must
not know what is summed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from tetrad_learner.trainer.ranks import Ranks

TOKENS: Final = "tokens"


class Tally:
    """Adds up one mini-batch, by name."""

    def __init__(self, *, totals: Collection[str], per_token: Collection[str], device: torch.device) -> None:
        """Name the sums that stay sums, and those that are divided by the number of tokens."""
        self._per_token = frozenset(per_token)
        self._names = (*totals, *per_token, TOKENS)
        self._sums = torch.zeros(len(self._names), dtype=torch.float64, device=device)

    def add(self, parts: Mapping[str, Tensor], *, num_tokens: int) -> None:
        """Count one micro-batch of this rank: a scalar for every name."""
        tokens = torch.full((), float(num_tokens), device=self._sums.device)  # filled there: nothing waits for a copy
        ordered = [*(parts[name] for name in self._names[:-1]), tokens]
        self._sums += torch.stack([part.detach().double() for part in ordered])

    def metrics(self, ranks: Ranks) -> dict[str, float]:
        """Return the metrics of the mini-batch, equal on all ranks; collective. A sum that is not finite stays so."""
        sums = dict(zip(self._names, ranks.sum(self._sums.cpu()).tolist(), strict=True))
        tokens = max(1.0, sums[TOKENS])
        return {name: total / tokens if name in self._per_token else total for name, total in sums.items()}


def mean_over_mini_batches(seen: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Fold the metrics of a step's optimizer steps into one: their mean, but the sum of tokens and the last rate.

    >>> first = {"loss": 1.0, "lr": 0.1, "tokens": 10.0}
    >>> mean_over_mini_batches([first, {"loss": 2.0, "lr": 0.2, "tokens": 4.0}])
    {'loss': 1.5, 'lr': 0.2, 'tokens': 14.0}
    >>> mean_over_mini_batches([])
    {}
    """
    if not seen:
        return {}
    folded = {name: sum(metrics[name] for metrics in seen) / len(seen) for name in seen[0]}
    return folded | {"lr": seen[-1]["lr"], TOKENS: sum(metrics[TOKENS] for metrics in seen)}
