"""Checks that messages make on their arrays."""

import numpy as np
import pytest

from tetrad_wire.arrays import require, require_range


def test_a_fitting_array_passes():
    require(np.zeros(3, np.float32), "x", "float32", length=3)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(3), r"x must be a one-dimensional float32 array, not float64\[3\]"),
        (np.zeros((3, 1), np.float32), r"x must be a one-dimensional float32 array, not float32\[3, 1\]"),
        (np.float32(1).reshape(()), r"not float32\[\]"),
        (np.zeros(2, np.float32), "x has 2 elements; its message needs 3"),
    ],
    ids=["dtype", "matrix", "scalar", "length"],
)
def test_another_array_is_refused_with_its_numbers(array, reason):
    with pytest.raises(ValueError, match=reason):
        require(array, "x", "float32", length=3)


def test_elements_within_the_range_pass():
    require_range(np.array([0, 7], np.int32), "x", low=0, high=7)
    require_range(np.array([0, 7], np.int32), "x", low=0)
    require_range(np.zeros(0, np.int32), "x", low=0, high=-1)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"low": 0, "high": 6}, "x holds 0 to 7; it must hold 0 to 6"), ({"low": 1}, "x holds 0 to 7; .* at least 1")],
    ids=["high", "low"],
)
def test_elements_outside_the_range_are_refused_with_the_numbers(limits, reason):
    with pytest.raises(ValueError, match=reason):
        require_range(np.array([0, 3, 7], np.int32), "x", **limits)
