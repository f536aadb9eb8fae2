"""A small, valid batch, and one gloo rank where a test needs one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numerics.trainer_builders import one_gloo_rank

from tetrad_learner.trainer.batch import DTYPES, StepBatch

BatchBuilder = Callable[..., StepBatch]


def _batch(**changes: Any) -> StepBatch:
    """Three samples of 4, 3 and 5 tokens; the second trains nothing."""
    values: dict[str, Any] = {
        "token_ids": [10, 11, 12, 13, 20, 21, 22, 30, 31, 32, 33, 34],
        "lengths": [4, 3, 5],
        "loss_mask": [0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 1, 0],
        "rollout_logprobs": [0.0] * 12,
        "sample_index": [0, 1, 2],
        "mini_batch": [0, 0, 0],
        "rewards": [1.0, 0.0, 0.5],
        "group": [0, 0, 0],
    }
    arrays = {name: np.array((values | changes)[name], dtype=dtype) for name, dtype in DTYPES.items()}
    scalars = {"step": 1, "lineage": 0, "update_epochs": 1}
    return StepBatch(**arrays, **{name: changes.get(name, value) for name, value in scalars.items()})


@pytest.fixture
def a_batch() -> BatchBuilder:
    return _batch


@pytest.fixture(scope="session")
def lone_rank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A process group of one, so that Trainer.create finds its rank."""
    with one_gloo_rank(tmp_path_factory.mktemp("store")):
        yield
