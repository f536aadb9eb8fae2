"""What a sample was worth: the mean over the tokens that the loss keeps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.credit import Credit
from tetrad_learner.trainer.tokens import TrainedTokens


def worth(batch: StepBatch, advantages: list[float], keep: list[bool]) -> list[float]:
    credit = Credit(
        advantages_K=torch.tensor(advantages, dtype=torch.float64),
        returns_K=None,
        keep_K=torch.tensor(keep),
        metrics={},
    )
    return credit.by_sample(TrainedTokens.of(batch), batch.sample_index).tolist()


def test_it_is_the_mean_over_the_tokens_in_the_order_of_the_samples(a_batch: Callable[..., StepBatch]) -> None:
    batch = a_batch(sample_index=[2, 0, 1])  # two trained tokens, none, two

    found = worth(batch, [1.0, 2.0, -1.0, -3.0], [True] * 4)

    np.testing.assert_array_equal(found, [1.5, np.nan, -2.0])


def test_tokens_that_the_correction_masks_do_not_count(a_batch: Callable[..., StepBatch]) -> None:
    batch = a_batch(sample_index=[2, 0, 1])

    found = worth(batch, [1.0, 0.0, 0.0, 0.0], [True, False, False, False])

    np.testing.assert_array_equal(found, [1.0, np.nan, np.nan])
