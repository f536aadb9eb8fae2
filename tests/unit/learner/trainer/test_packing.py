"""Every trained token is predicted exactly once, from the position before it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrad_learner.trainer.batch import StepBatch
from tetrad_learner.trainer.options import RowLayout
from tetrad_learner.trainer.packing import MicroBatchLimits, cut, empty_micro_batch, fed_lengths, micro_batches


def limits(samples: int = 8, *, tokens: int | None = None, layout: RowLayout = RowLayout.PADDED) -> MicroBatchLimits:
    return MicroBatchLimits(max_samples=samples, max_tokens=tokens, layout=layout)


def test_padded_rows_are_sorted_by_length_and_stop_before_the_last_trained_token(
    a_batch: Callable[..., StepBatch],
) -> None:
    (micro,) = micro_batches(a_batch(), mini_batch=0, limits=limits())

    assert micro.input_ids.tolist() == [[10, 11, 12], [30, 31, 32]]
    assert micro.position_ids is None
    assert micro.source_T.tolist() == [1, 2, 3, 5]
    assert micro.token_T.tolist() == [2, 3, 8, 10]
    assert micro.sample_T.tolist() == [0, 0, 2, 2]


def test_a_packed_row_resets_its_positions(a_batch: Callable[..., StepBatch]) -> None:
    (micro,) = micro_batches(a_batch(), mini_batch=0, limits=limits(layout=RowLayout.PACKED))

    assert micro.input_ids.tolist() == [[10, 11, 12, 30, 31, 32]]
    assert micro.position_ids is not None
    assert micro.position_ids.tolist() == [[0, 1, 2, 0, 1, 2]]
    assert micro.source_T.tolist() == [1, 2, 3, 5]


def test_a_sample_that_trains_nothing_is_not_fed(a_batch: Callable[..., StepBatch]) -> None:
    assert fed_lengths(a_batch()).tolist() == [3, 0, 3]


def test_an_empty_micro_batch_predicts_nothing() -> None:
    micro = empty_micro_batch()

    assert micro.input_ids.shape == (1, 1)
    assert len(micro.source_T) == len(micro.token_T) == 0


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=12),
    max_samples=st.integers(1, 5),
    max_tokens=st.none() | st.integers(1, 40),
    layout=st.sampled_from(list(RowLayout)),
    data=st.data(),
)
def test_every_trained_token_is_predicted_once_from_the_token_before_it(
    lengths: list[int], max_samples: int, max_tokens: int | None, layout: RowLayout, data: st.DataObject
) -> None:
    total = sum(lengths)
    mask = np.array(data.draw(st.lists(st.integers(0, 1), min_size=total, max_size=total)), dtype=np.uint8)
    starts = np.cumsum([0, *lengths[:-1]])
    mask[starts] = 0
    count = len(lengths)
    batch = StepBatch(
        token_ids=np.arange(total, dtype=np.int32),
        lengths=np.array(lengths, dtype=np.int32),
        loss_mask=mask,
        rollout_logprobs=np.zeros(total, dtype=np.float32),
        sample_index=np.arange(count, dtype=np.int32)[::-1].copy(),
        mini_batch=np.arange(count, dtype=np.int32) % 2,
        rewards=np.zeros(count, dtype=np.float32),
        group=np.zeros(count, dtype=np.int32),
        step=1,
        lineage=0,
    )

    micros = [
        micro
        for mini_batch in range(2)
        for micro in micro_batches(
            batch, mini_batch=mini_batch, limits=limits(max_samples, tokens=max_tokens, layout=layout)
        )
    ]

    predicted = sorted(token for micro in micros for token in micro.token_T.tolist())
    assert predicted == np.flatnonzero(mask).tolist()
    for micro in micros:
        assert np.array_equal(micro.input_ids.ravel()[micro.source_T], micro.token_T - 1)
        assert np.array_equal(batch.sample_of_token[micro.token_T], micro.sample_T)
        assert micro.num_samples <= max_samples
        assert max_tokens is None or micro.input_ids.size <= max_tokens or micro.num_samples == 1


@pytest.mark.parametrize("layout", RowLayout)
def test_nothing_to_cut_gives_no_micro_batch(layout: RowLayout) -> None:
    assert cut([], limits=limits(layout=layout)) == []
