"""Trained tokens: where they lie, and the way to the device and back."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.tokens import TrainedTokens


def test_each_trained_token_knows_its_sample_and_its_place_in_it(a_batch: Callable[..., StepBatch]) -> None:
    tokens = TrainedTokens.of(a_batch(sample_index=[2, 0, 1], rollout_logprobs=[-float(i) for i in range(12)]))

    assert tokens.index_K.tolist() == [2, 3, 8, 10]
    assert tokens.sample_K.tolist() == [2, 2, 1, 1]
    assert tokens.position_K.tolist() == [2, 3, 1, 3]
    assert tokens.rollout_K.tolist() == [-2.0, -3.0, -8.0, -10.0]


def test_what_is_spread_is_taken_back(a_batch: Callable[..., StepBatch]) -> None:
    tokens = TrainedTokens.of(a_batch())
    values_K = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)

    spread_T = tokens.spread(values_K, device=torch.device("cpu"))
    chosen_T = tokens.spread(values_K > 2, device=torch.device("cpu"))

    assert spread_T.tolist() == [0, 0, 1, 2, 0, 0, 0, 0, 3, 0, 4, 0]
    assert spread_T.dtype == torch.float32
    assert torch.equal(tokens.taken(spread_T), values_K)
    assert chosen_T.nonzero().flatten().tolist() == [8, 10]
