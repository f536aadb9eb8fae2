"""From the batch of a step to what its trained tokens are weighed with: advantages, weights, targets.

Owns the hand-over from numpy arrays of samples to tensors of tokens on the device. Must not know of the model.
"""

# T all tokens of this rank · K its trained tokens · N samples of the step

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tetrad_algorithms.advantages import AdvantageOptions, Advantages, GrpoStd, Outcomes, estimators
from tetrad_algorithms.masking import reductions
from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.census import Census, token_weights
from tetrad_learner.trainer.objective import TokenFacts
from tetrad_learner.trainer.options import AlgorithmOptions
from tetrad_learner.trainer.packing import MicroBatch
from tetrad_learner.trainer.policy import ForwardInputs


class FactFinder:
    """Knows the configured estimator and reduction; raises at once for names that are not registered."""

    def __init__(self, algorithm: AlgorithmOptions, *, device: torch.device) -> None:
        self._estimator = estimators.get(algorithm.advantage_estimator)
        self._reduction = reductions.get(algorithm.loss_reduction)
        self._options = AdvantageOptions(
            grpo_std=GrpoStd(algorithm.grpo_std), grpo_std_epsilon=algorithm.grpo_std_epsilon
        )
        self._max_sequence_tokens = algorithm.max_sequence_tokens
        self._device = device

    def find(self, batch: StepBatch, census: Census) -> tuple[TokenFacts, Advantages]:
        """Return facts with one entry per token of this rank; entries of tokens that are not trained mean nothing."""
        # torch.tensor copies: the arrays may be views of received frames, which nobody may write to.
        sample_T = torch.tensor(batch.sample_of_token, dtype=torch.int64)
        trained_K = torch.tensor(batch.loss_mask).nonzero().flatten()
        advantages = self._estimator(
            Outcomes(
                rewards_N=torch.tensor(batch.rewards),
                group_N=torch.tensor(batch.group, dtype=torch.int64),
                sample_T=sample_T[trained_K],
            ),
            self._options,
        )
        advantage_T = torch.zeros(len(sample_T), dtype=torch.float64).index_copy(0, trained_K, advantages.token_T)
        weight_N = token_weights(
            census, batch=batch, reduction=self._reduction, max_sequence_tokens=self._max_sequence_tokens
        )
        facts = TokenFacts(
            token_ids=torch.tensor(batch.token_ids, dtype=torch.int64, device=self._device),
            sample=sample_T.to(self._device),
            advantages=advantage_T.float().to(self._device),
            weights=weight_N[sample_T].float().to(self._device),
            rollout_logprobs=torch.tensor(batch.rollout_logprobs, device=self._device),
        )
        return facts, advantages


def select(facts: TokenFacts, index_K: Tensor) -> TokenFacts:
    """Return the facts of some tokens, in the order of the index."""
    old, reference = facts.old_logprobs, facts.reference_logprobs
    return TokenFacts(
        token_ids=facts.token_ids[index_K],
        sample=facts.sample[index_K],
        advantages=facts.advantages[index_K],
        weights=facts.weights[index_K],
        rollout_logprobs=facts.rollout_logprobs[index_K],
        old_logprobs=None if old is None else old[index_K],
        reference_logprobs=None if reference is None else reference[index_K],
    )


def forward_inputs(micro: MicroBatch, facts: TokenFacts) -> ForwardInputs:
    """Move a micro-batch to where the facts are."""
    device = facts.token_ids.device
    return ForwardInputs(
        input_ids=on_device(micro.input_ids, device),
        position_ids=None if micro.position_ids is None else on_device(micro.position_ids, device),
        source_T=on_device(micro.source_T, device),
        target_T=facts.token_ids[on_device(micro.token_T, device)],
    )


def on_device(array: NDArray[np.int64], device: torch.device) -> Tensor:
    """Return the array as a tensor on `device`."""
    return torch.from_numpy(array).to(device)
