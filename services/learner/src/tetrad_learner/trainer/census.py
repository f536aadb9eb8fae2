"""What all ranks must know of a step before the first forward: who holds what, and what the loss divides by.

Owns the exact global denominators. One small all-reduce; after it, each rank computes the same weights.
"""

# S samples of this rank · N samples of the step, on all ranks · M mini-batches

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tetrad_algorithms.masking import MiniBatchCounts, Reduction
from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.errors import BatchError
from tetrad_learner.trainer.ranks import Ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """The step as a whole, equal on every rank."""

    tokens_N: Tensor
    """int64[N]: trained tokens of each sample."""
    mini_batch_N: Tensor
    """int64[N]: mini-batch of each sample."""
    num_mini_batches: int

    @property
    def num_tokens(self) -> int:
        """Trained tokens of the step."""
        return int(self.tokens_N.sum())

    @property
    def mini_batch_tokens(self) -> Tensor:
        """int64[M]: trained tokens of each mini-batch; one without any takes no optimizer step."""
        return torch.zeros(self.num_mini_batches, dtype=torch.int64).index_add(0, self.mini_batch_N, self.tokens_N)


def take_census(batch: StepBatch, ranks: Ranks) -> Census:
    """Count samples and trained tokens over all ranks; collective.

    Raises RankDisagreementError where ranks hold different steps, BatchError where a sample is missing or held twice,
    or where the step has no token to train on.
    """
    ranks.agree(batch.digest(), what=f"batch of step {batch.step}")
    own = torch.tensor(batch.sample_index, dtype=torch.int64)
    counts_3N = torch.zeros(3, batch.num_samples_everywhere, dtype=torch.int64)
    counts_3N[0].index_add_(0, own, torch.tensor(batch.trained_tokens))
    counts_3N[1].index_add_(0, own, torch.tensor(batch.mini_batch, dtype=torch.int64))
    counts_3N[2].index_add_(0, own, torch.ones_like(own))
    tokens_N, mini_batch_N, copies_N = ranks.sum(counts_3N)
    strange = torch.nonzero(copies_N != 1).flatten()
    if len(strange):
        sample = int(strange[0])
        raise BatchError(f"sample {sample} of step {batch.step} is on {int(copies_N[sample])} ranks; it must be on one")
    if len(mini_batch_N) == 0:
        raise BatchError(f"step {batch.step} holds no sample")
    census = Census(tokens_N=tokens_N, mini_batch_N=mini_batch_N, num_mini_batches=int(mini_batch_N.max()) + 1)
    if census.num_tokens == 0:
        raise BatchError(f"none of the {len(tokens_N)} samples of step {batch.step} has a token to train on")
    return census


def recount(census: Census, batch: StepBatch, ranks: Ranks) -> Census:
    """Count again after tokens were masked; collective."""
    own = torch.tensor(batch.sample_index, dtype=torch.int64)
    tokens_N = torch.zeros_like(census.tokens_N).index_add(0, own, torch.tensor(batch.trained_tokens))
    return dataclasses.replace(census, tokens_N=ranks.sum(tokens_N))


def by_prompts(census: Census, batch: StepBatch, *, prompts: int) -> Census:
    """Cut the step anew, into mini-batches of so many prompts in the order of the samples."""
    _, first_P, of_N = np.unique(batch.group, return_index=True, return_inverse=True)
    ordinal_P = np.argsort(np.argsort(first_P))
    mini_batch_N = torch.tensor(ordinal_P[of_N] // prompts, dtype=torch.int64)
    return dataclasses.replace(census, mini_batch_N=mini_batch_N, num_mini_batches=int(mini_batch_N.max()) + 1)


def token_weights(census: Census, *, batch: StepBatch, reduction: Reduction, max_sequence_tokens: int) -> Tensor:
    """float64[N]: by what each trained token of each sample counts in the loss of its mini-batch."""
    weight_N = torch.zeros(len(census.tokens_N), dtype=torch.float64)
    group_N = torch.tensor(batch.group, dtype=torch.int64)
    for mini_batch in range(census.num_mini_batches):
        members = census.mini_batch_N == mini_batch
        weight_N[members] = reduction(
            MiniBatchCounts(
                tokens_N=census.tokens_N[members],
                group_N=group_N[members],
                max_sequence_tokens=max_sequence_tokens,
            )
        )
    return weight_N
