"""The trained tokens of this rank in order: where each lies, and how per-token numbers move between the two layouts.

Bookkeeping without gradients is done on the CPU in float64, over trained tokens only; forward passes address the
rank's whole token arrays on the device.
"""

# S samples of this rank · T all tokens of this rank · K its trained tokens

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tetrad_learner.trainer.batch import StepBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedTokens:
    """Trained tokens, sample by sample."""

    index_K: Tensor
    """int64[K]: place of each in the rank's token arrays."""
    sample_K: Tensor
    """int64[K]: its sample, index in the step's batch."""
    position_K: Tensor
    """int64[K]: its place in its sample, counted from 0."""
    rollout_K: Tensor
    """float64[K]: log-probability that the rollout engine gave it."""
    num_tokens: int
    """T"""

    @classmethod
    def of(cls, batch: StepBatch) -> TrainedTokens:
        """Find the trained tokens of a batch."""
        # torch.tensor copies: the arrays may be views of received frames, which nobody may write to.
        index_K = np.flatnonzero(batch.loss_mask)
        start_T = np.repeat(batch.offsets[:-1], batch.lengths)
        return cls(
            index_K=torch.tensor(index_K),
            sample_K=torch.tensor(batch.sample_of_token[index_K], dtype=torch.int64),
            position_K=torch.tensor(index_K - start_T[index_K]),
            rollout_K=torch.tensor(batch.rollout_logprobs[index_K], dtype=torch.float64),
            num_tokens=len(batch.token_ids),
        )

    def taken(self, values_T: Tensor) -> Tensor:
        """float64[K] of float[T] on any device."""
        return values_T.cpu().double()[self.index_K]

    def spread(self, values_K: Tensor, *, device: torch.device) -> Tensor:
        """float32[T] (bool[T] for bool) on the device, 0 where nothing is trained."""
        dtype = values_K.dtype if values_K.dtype == torch.bool else torch.float32
        spread_T = torch.zeros(self.num_tokens, dtype=dtype)
        return spread_T.index_copy(0, self.index_K, values_K.to(dtype)).to(device)
