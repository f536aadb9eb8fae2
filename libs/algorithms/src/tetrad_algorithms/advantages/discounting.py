"""Discounting: sums over the tokens that follow, within each sample.

Owns the recursion that GAE and REINFORCE++ share, and where a sample's reward sits. Must not know what is summed.
"""

# T trained tokens of this rank

from __future__ import annotations

import torch
from torch import Tensor

from tetrad_algorithms.advantages.outcomes import Outcomes


def discounted_sums(values_T: Tensor, sample_T: Tensor, *, factor: float) -> Tensor:
    """Return y with y_t = x_t + factor · y_{t+1} inside each sample; float64[T].

    By doubling: after k rounds y_t holds the next 2^k tokens, so a long response costs log₂ T vector operations.
    Each sample's result depends on that sample alone, to the bit.

    >>> discounted_sums(torch.tensor([1.0, 1.0, 1.0, 8.0]), torch.tensor([0, 0, 0, 1]), factor=0.5)
    tensor([1.7500, 1.5000, 1.0000, 8.0000], dtype=torch.float64)
    """
    check_adjacent(sample_T)
    total_T, span = values_T.detach().double(), 1
    while span < len(total_T) and bool((is_same_T := sample_T[:-span] == sample_T[span:]).any()):
        later_T = torch.where(is_same_T, total_T[span:], 0.0) * factor**span
        total_T = total_T + torch.nn.functional.pad(later_T, (0, span))
        span *= 2
    return total_T


def check_adjacent(sample_T: Tensor) -> None:
    """Raise ValueError unless the tokens of each sample follow one another."""
    runs, samples = len(torch.unique_consecutive(sample_T)), len(torch.unique(sample_T))
    if runs != samples:
        raise ValueError(f"the tokens of {samples} samples lie in {runs} pieces; those of a sample must be adjacent")


def is_last(sample_T: Tensor) -> Tensor:
    """Return bool[T]: whether a token is the last trained one of its sample.

    >>> is_last(torch.tensor([4, 4, 7]))
    tensor([False,  True,  True])
    """
    last_T = torch.ones_like(sample_T, dtype=torch.bool)
    last_T[:-1] = sample_T[:-1] != sample_T[1:]
    return last_T


def token_rewards(outcomes: Outcomes) -> Tensor:
    """Return float64[T]: the reward of each trained token, on the last of its sample where none are given by token."""
    if outcomes.token_rewards_T is not None:
        return outcomes.token_rewards_T.detach().double()
    rewards_T = outcomes.rewards_N.detach().double()[outcomes.sample_T]
    return rewards_T.masked_fill(~is_last(outcomes.sample_T), 0.0)
