"""A batch that contradicts itself is refused with the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.errors import BatchError, NonFiniteError


def test_a_batch_knows_its_samples_and_tokens(a_batch: Callable[..., StepBatch]) -> None:
    batch = a_batch()

    assert (batch.num_samples, batch.num_samples_everywhere) == (3, 3)
    assert batch.offsets.tolist() == [0, 4, 7, 12]
    assert batch.sample_of_token.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2]
    assert batch.trained_tokens.tolist() == [2, 0, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": [4, 3, 4]}, "lengths sum to 11; there are 12 tokens"),
        ({"lengths": [4, 8, 0]}, "lengths sum to 12"),
        ({"loss_mask": [0] * 11}, "arrays of different length"),
        ({"sample_index": [0, 1]}, "arrays of different length"),
        ({"group": [0, 0]}, "3 rewards but 2 group numbers"),
        ({"sample_index": [0, 1, 3]}, "sample_index must lie in 0 … 2, found 3"),
        ({"loss_mask": [0] * 4 + [1] + [0] * 7}, "sample 1 trains its first token"),
        ({"loss_mask": [0, 2] + [0] * 10}, "loss_mask must be 0 or 1"),
        ({"mini_batch": [0, 0, -1]}, "mini_batch and token_ids must not be negative"),
        ({"update_epochs": 0}, "update_epochs is 0"),
    ],
)
def test_a_contradiction_is_refused(a_batch: Callable[..., StepBatch], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BatchError, match=message):
        a_batch(**changes)


def test_an_array_of_another_dtype_is_refused(a_batch: Callable[..., StepBatch]) -> None:
    batch = a_batch()
    fields = {name: getattr(batch, name) for name in StepBatch.__dataclass_fields__}

    with pytest.raises(BatchError, match="token_ids is int64"):
        StepBatch(**fields | {"token_ids": batch.token_ids.astype(np.int64)})


@pytest.mark.parametrize("name", ["rewards", "rollout_logprobs"])
def test_numbers_that_are_not_finite_poison_the_step(a_batch: Callable[..., StepBatch], name: str) -> None:
    values = getattr(a_batch(), name).copy()
    values[1] = np.nan

    with pytest.raises(NonFiniteError, match=f"{name} is nan in step 1; the step is poisoned"):
        a_batch(**{name: values})


def test_a_rank_may_hold_no_sample(a_batch: Callable[..., StepBatch]) -> None:
    empty = {name: [] for name in ("token_ids", "lengths", "loss_mask", "rollout_logprobs")}

    batch = a_batch(**empty, sample_index=[], mini_batch=[])

    assert (batch.num_samples, batch.num_samples_everywhere) == (0, 3)
    assert batch.trained_tokens.tolist() == []


def test_the_digest_sees_rewards_groups_and_step_but_not_the_share(a_batch: Callable[..., StepBatch]) -> None:
    same = a_batch(token_ids=[1] * 12).digest()

    assert same == a_batch().digest()
    for change in ({"rewards": [1.0, 0.0, 0.6]}, {"group": [0, 0, 1]}, {"step": 2}, {"lineage": 1}):
        assert a_batch(**change).digest() != same
