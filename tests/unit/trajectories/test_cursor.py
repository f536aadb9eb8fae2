"""The cursor: pure, without replacement, the same everywhere."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrad_trajectories.cursor import row_at, steps_per_epoch


@given(num_rows=st.integers(1, 200), batch_size=st.integers(1, 50), seed=st.integers(-5, 2**64), shuffle=st.booleans())
def test_no_row_comes_twice_in_an_epoch(num_rows, batch_size, seed, shuffle):
    if num_rows < batch_size:
        return
    draws = steps_per_epoch(num_rows=num_rows, batch_size=batch_size) * batch_size

    places = [
        row_at(draw, num_rows=num_rows, seed=seed, shuffle=shuffle, batch_size=batch_size) for draw in range(draws + 1)
    ]

    rows = [place.row for place in places[:draws]]
    assert len(set(rows)) == draws
    assert set(rows) <= set(range(num_rows))
    assert [place.epoch for place in places] == [0] * draws + [1]


def test_without_shuffle_rows_come_in_file_order():
    rows = [row_at(draw, num_rows=7, seed=3, shuffle=False, batch_size=3).row for draw in range(9)]

    assert rows == [0, 1, 2, 3, 4, 5, 0, 1, 2]


def test_each_epoch_and_each_seed_has_its_own_order():
    def order(epoch, seed):
        return [row_at(epoch * 50 + i, num_rows=50, seed=seed, shuffle=True).row for i in range(50)]

    assert order(0, 1) != order(1, 1)
    assert order(0, 1) != order(0, 2)
    assert sorted(order(1, 1)) == list(range(50))


def test_the_order_is_fixed_for_ever():
    rows = [row_at(draw, num_rows=10, seed=42, shuffle=True).row for draw in range(12)]

    assert rows == GOLDEN


def test_another_process_draws_the_same_rows():
    code = (
        "from tetrad_trajectories.cursor import row_at;"
        "print([row_at(d, num_rows=10, seed=42, shuffle=True).row for d in range(12)])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == str(GOLDEN)


@pytest.mark.parametrize(
    ("draw", "num_rows", "batch_size", "complaint"),
    [
        (-1, 5, 1, "draw is -1"),
        (0, 5, 6, "train_batch_size 6 exceeds the 5 rows"),
        (0, 5, 0, "batch_size is 0"),
        (0, 0, 1, "exceeds the 0 rows"),
    ],
)
def test_impossible_cursors_are_refused(draw, num_rows, batch_size, complaint):
    with pytest.raises(ValueError, match=complaint):
        row_at(draw, num_rows=num_rows, seed=0, shuffle=False, batch_size=batch_size)


GOLDEN = [4, 8, 1, 9, 3, 6, 0, 7, 2, 5, 1, 2]
