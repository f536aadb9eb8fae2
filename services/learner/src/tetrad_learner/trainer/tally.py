"""Sums of what a mini-batch showed, over micro-batches and ranks, and the metrics they become.

Owns the names and denominators of the training metrics. Sums are float64 and stay on the device until the mini-batch
ends, so that counting never makes the device wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import torch
from torch import Tensor

from tetrad_learner.trainer.objective import MicroLoss
from tetrad_learner.trainer.ranks import Ranks


class Sum(IntEnum):
    """What is summed."""

    LOSS, POLICY, KL, ENTROPY, CLIPPED, MISMATCH, TOKENS = range(7)


PER_TOKEN: Final = {"entropy": Sum.ENTROPY, "clip_ratio": Sum.CLIPPED, "logprob_diff_mean": Sum.MISMATCH}
WEIGHTED: Final = {"loss": Sum.LOSS, "policy_loss": Sum.POLICY, "kl_loss": Sum.KL}


class Tally:
    """Adds up one mini-batch."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(len(Sum), dtype=torch.float64, device=device)
        self._worst = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, loss: MicroLoss, entropy_T: Tensor) -> None:
        """Count one micro-batch of this rank."""
        parts = (loss.total, loss.policy, loss.kl, entropy_T.sum(), loss.num_clipped, loss.mismatch_T.sum())
        tokens = torch.tensor(float(len(entropy_T)), device=self._sums.device)
        self._sums += torch.stack([part.detach().double() for part in (*parts, tokens)])
        if len(loss.mismatch_T):
            self._worst = torch.maximum(self._worst, loss.mismatch_T.max().double())

    def metrics(self, ranks: Ranks) -> dict[str, float]:
        """Return the metrics of the mini-batch, equal on all ranks; collective. A sum that is not finite stays so."""
        sums = ranks.sum(self._sums.cpu()).tolist()
        worst = float(ranks.max(self._worst.cpu()))
        tokens = max(1.0, sums[Sum.TOKENS])
        weighted = {name: sums[key] for name, key in WEIGHTED.items()}
        per_token = {name: sums[key] / tokens for name, key in PER_TOKEN.items()}
        return {**weighted, **per_token, "logprob_diff_max": worst, "tokens": sums[Sum.TOKENS]}


def mean_over_mini_batches(seen: Sequence[dict[str, float]]) -> dict[str, float]:
    """Fold the metrics of a step's optimizer steps into one: their mean, but the sum of tokens and the worst maximum.

    >>> first = {"loss": 1.0, "logprob_diff_max": 0.5, "lr": 0.1, "tokens": 10.0}
    >>> mean_over_mini_batches([first, {"loss": 2.0, "logprob_diff_max": 0.1, "lr": 0.2, "tokens": 4.0}])
    {'loss': 1.5, 'logprob_diff_max': 0.5, 'lr': 0.2, 'tokens': 14.0}
    """
    folded = {name: sum(metrics[name] for metrics in seen) / len(seen) for name in seen[0]}
    folded["logprob_diff_max"] = max(metrics["logprob_diff_max"] for metrics in seen)
    folded["lr"] = seen[-1]["lr"]
    folded["tokens"] = sum(metrics["tokens"] for metrics in seen)
    return folded
