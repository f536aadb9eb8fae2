"""Requests are checked where they are made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tetrad_rollout.engine.errors import InvalidRequestError
from tetrad_rollout.engine.protocol import GenerationRequest, RequestId, Sampling


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": 0},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.01},
        {"top_k": 0},
        {"min_p": -0.5},
        {"stop_strings": ("",)},
    ],
)
def test_a_sampling_field_out_of_range_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(wrong))):
        Sampling(**{"max_new_tokens": 4, **wrong})


@pytest.mark.parametrize(
    ("prompt_ids", "seeds", "field"),
    [
        (np.zeros(3, np.int64), (1,), "prompt_ids"),
        (np.zeros(0, np.int32), (1,), "prompt_ids"),
        (np.zeros((1, 3), np.int32), (1,), "prompt_ids"),
        (np.zeros(3, np.int32), (), "seeds"),
        (np.zeros(3, np.int32), (2**64,), "seeds"),
        (np.zeros(3, np.int32), (-1,), "seeds"),
    ],
)
def test_a_malformed_request_is_refused(prompt_ids: Any, seeds: tuple[int, ...], field: str) -> None:
    with pytest.raises(InvalidRequestError, match=field):
        GenerationRequest(
            request_id=RequestId("r"), prompt_ids=prompt_ids, seeds=seeds, sampling=Sampling(max_new_tokens=1)
        )
