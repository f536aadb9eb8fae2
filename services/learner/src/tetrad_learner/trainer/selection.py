"""Tokens that a covariance loss treats apart, chosen once per mini-batch before the step's first update.

The choice looks at all tokens of the mini-batch on all ranks, so that it cannot depend on micro-batches or ranks. Owns
nothing but that; the rules are tetrad_algorithms'.
"""

# K trained tokens of this rank · M mini-batches

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from tetrad_algorithms.losses import SelectionInputs, selections
from tetrad_learner.trainer.algorithm_options import AlgorithmOptions
from tetrad_learner.trainer.census import Census
from tetrad_learner.trainer.objective import loss_options
from tetrad_learner.trainer.ranks import Ranks
from tetrad_learner.trainer.tokens import TrainedTokens

# A prime, so that the seeds of (run, step) pairs do not meet.
STEPS_PER_SEED: Final = 1_000_003


class Selector:
    """Chooses for losses that have a selection; others get None."""

    def __init__(self, options: AlgorithmOptions, *, ranks: Ranks, seed: int) -> None:
        name = options.policy_loss_type
        self._selection = selections.get(name) if name in selections.names() else None
        self._options, self._ranks, self._seed = loss_options(options), ranks, seed

    @property
    def is_on(self) -> bool:
        """Whether log-probabilities are needed before the first update."""
        return self._selection is not None

    def select(
        self, tokens: TrainedTokens, census: Census, *, old_K: Tensor, advantages_K: Tensor, keep_K: Tensor, step: int
    ) -> Tensor | None:
        """Return bool[K], or None; collective. `census` counts what is left after all masks."""
        if self._selection is None:
            return None
        selected_K = torch.zeros_like(keep_K)
        mini_batch_K = census.mini_batch_N[tokens.sample_K]
        for mini_batch in torch.nonzero(census.mini_batch_tokens).flatten().tolist():
            members = torch.nonzero(keep_K & (mini_batch_K == mini_batch)).flatten()
            inputs = SelectionInputs(
                logprobs_T=old_K[members],
                advantages_T=advantages_K[members],
                sample_T=tokens.sample_K[members],
                position_T=tokens.position_K[members],
                seed=self._seed * STEPS_PER_SEED + step,
                gather=self._ranks.gather,
            )
            selected_K[members] = self._selection(inputs, self._options)
        return selected_K
