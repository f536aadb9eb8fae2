"""Sums and means over masked tokens, with denominators that are stated and never implied.

Owns the reductions of a loss: each is a weight per token, so that a loss is always Σ weight · loss and its gradient
cannot depend on how a mini-batch was cut into micro-batches, rows or ranks. Must not know what is being averaged.
"""

# T tokens here · N samples of the mini-batch, on all ranks

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tetrad_algorithms.registry import Registry


def masked_sum(values_T: Tensor, mask_T: Tensor) -> Tensor:
    """Sum the values where the mask is set; what lies under an unset mask is never read (NaN included).

    >>> import torch
    >>> masked_sum(torch.tensor([1.0, float("nan"), 3.0]), torch.tensor([1, 0, 1]))
    tensor(4.)
    """
    return values_T.masked_fill(mask_T == 0, 0.0).sum()


def masked_mean(values_T: Tensor, mask_T: Tensor, *, denominator: float | Tensor) -> Tensor:
    """Divide the masked sum by `denominator`, which the caller has counted, over all ranks where there are several.

    >>> import torch
    >>> masked_mean(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1, 0, 1]), denominator=4)
    tensor(1.)
    """
    return masked_sum(values_T, mask_T) / denominator


@dataclass(frozen=True, slots=True, kw_only=True)
class MiniBatchCounts:
    """What a reduction divides by; everything is counted over all ranks."""

    tokens_N: Tensor
    """int64[N]: trained tokens of each sample of the mini-batch; 0 where a sample is masked as a whole."""
    group_N: Tensor
    """int64[N]: prompt group of each sample."""
    max_sequence_tokens: int
    """Longest sequence that the run allows, the divisor of `seq_mean_token_sum_norm`."""


Reduction = Callable[[MiniBatchCounts], Tensor]
"""Returns float64[N]: the weight of each trained token of each sample."""


def guarded(reduction: Reduction, name: str) -> Reduction:
    """Return somebody else's reduction with its result checked; the checked one raises ValueError with the name."""

    def checked(counts: MiniBatchCounts) -> Tensor:
        weight_N = reduction(counts)
        if weight_N.shape != counts.tokens_N.shape:
            raise ValueError(
                f"reduction {name!r} returned shape {tuple(weight_N.shape)}; one weight for each of the "
                f"{len(counts.tokens_N)} samples is needed"
            )
        if not bool(weight_N.isfinite().all()):
            raise ValueError(f"reduction {name!r} returned weights that are no finite numbers; clamp tokens_N to 1")
        return weight_N.detach().double()

    return checked


reductions: Registry[Reduction] = Registry("trainer.algorithm.loss_reduction", guard=guarded)


@reductions.register("token_mean")
def token_mean(counts: MiniBatchCounts) -> Tensor:
    """Weigh each trained token of the mini-batch alike (DAPO, arXiv:2503.14476, eq. 8): 1 / Σ tokens.

    >>> import torch
    >>> token_mean(MiniBatchCounts(tokens_N=torch.tensor([1, 3]), group_N=torch.zeros(2), max_sequence_tokens=8))
    tensor([0.2500, 0.2500], dtype=torch.float64)
    """
    total = counts.tokens_N.sum().clamp(min=1).double()
    return (1.0 / total).expand(counts.tokens_N.shape).clone()


@reductions.register("sequence_mean")
def sequence_mean(counts: MiniBatchCounts) -> Tensor:
    """Mean over the tokens of each sample, then over samples (GRPO, arXiv:2402.03300, eq. 3): 1 / (N · tokens).

    A sample without trained tokens counts in N, as it does in SkyRL.

    >>> import torch
    >>> sequence_mean(MiniBatchCounts(tokens_N=torch.tensor([1, 4]), group_N=torch.zeros(2), max_sequence_tokens=8))
    tensor([0.5000, 0.1250], dtype=torch.float64)
    """
    return 1.0 / (counts.tokens_N.clamp(min=1).double() * max(1, len(counts.tokens_N)))


@reductions.register("prompt_mean")
def prompt_mean(counts: MiniBatchCounts) -> Tensor:
    """Mean over all tokens of a prompt's group, then over prompts: 1 / (P · tokens of the group).

    A prompt counts in P even if none of its tokens is trained.

    >>> import torch
    >>> prompt_mean(
    ...     MiniBatchCounts(
    ...         tokens_N=torch.tensor([1, 3, 2]), group_N=torch.tensor([7, 7, 9]), max_sequence_tokens=8
    ...     )
    ... )
    tensor([0.1250, 0.1250, 0.2500], dtype=torch.float64)
    """
    _, index_N = torch.unique(counts.group_N, return_inverse=True)
    num_prompts = max(1, int(index_N.max()) + 1 if len(index_N) else 0)
    tokens_P = counts.tokens_N.new_zeros(num_prompts).index_add(0, index_N, counts.tokens_N)
    return 1.0 / (tokens_P[index_N].clamp(min=1).double() * num_prompts)


@reductions.register("seq_mean_token_sum_norm")
def seq_mean_token_sum_norm(counts: MiniBatchCounts) -> Tensor:
    """Sum over tokens divided by a constant, mean over samples (Dr. GRPO, arXiv:2503.20783): 1 / (N · max length).

    >>> import torch
    >>> seq_mean_token_sum_norm(
    ...     MiniBatchCounts(tokens_N=torch.tensor([1, 4]), group_N=torch.zeros(2), max_sequence_tokens=8)
    ... )
    tensor([0.0625, 0.0625], dtype=torch.float64)
    """
    if counts.max_sequence_tokens < 1:
        raise ValueError(f"max_sequence_tokens is {counts.max_sequence_tokens}; seq_mean_token_sum_norm needs ≥ 1")
    weight = counts.tokens_N.new_full((1,), 1).double() / (max(1, len(counts.tokens_N)) * counts.max_sequence_tokens)
    return weight.expand(counts.tokens_N.shape).clone()
