"""What a step is about: its batch as far as it is trained on, and the counts that its loss divides by."""

# T all tokens of this rank · K its trained tokens

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.census import Census, recount
from tetrad_learner.trainer.filters import masked
from tetrad_learner.trainer.ranks import Ranks
from tetrad_learner.trainer.tokens import TrainedTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A step's batch on this rank."""

    batch: StepBatch
    census: Census
    tokens: TrainedTokens
    """Whatever was trained when the subject was made, also what has been masked since."""
    token_ids: Tensor
    """int64[T] on the device."""

    def kept(self, keep_K: Tensor, ranks: Ranks) -> Subject:
        """Mask the tokens that are not kept, and count again; collective."""
        keep_T = np.ones(len(self.batch.loss_mask), dtype=np.bool_)
        keep_T[self.tokens.index_K[~keep_K].numpy()] = False
        batch = masked(self.batch, keep_T=keep_T)
        return dataclasses.replace(self, batch=batch, census=recount(self.census, batch, ranks))
