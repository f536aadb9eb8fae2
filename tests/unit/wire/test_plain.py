"""What a header may be made of."""

import datetime

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrad_wire.plain import MAX_INTEGER, MIN_INTEGER, may_be_odd, why_not_plain


@pytest.mark.parametrize(
    "value",
    [None, True, 0, MAX_INTEGER, MIN_INTEGER, 1.5, float("nan"), "x", b"x", [], (), {}, {"": [{"a": (1,)}]}],
    ids=repr,
)
def test_plain_values_are_plain(value):
    assert why_not_plain(value, max_depth=4) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (MAX_INTEGER + 1, "integer 9223372036854775808 does not fit 64 bits with its sign"),
        (MIN_INTEGER - 1, "integer -9223372036854775809 does not fit 64 bits with its sign"),
        ({1: 2}, "a map has a key that is no text"),
        ({b"a": 2}, "a map has a key that is no text"),
        ({1, 2}, "set is no plain value"),
        (datetime.date(2026, 1, 1), "date is no plain value"),
        (np.float64(1.5), "float64 is no plain value"),
    ],
    ids=repr,
)
def test_other_values_are_named_wherever_they_are(value, reason):
    assert why_not_plain(value, max_depth=4) == reason
    assert why_not_plain({"a": [1, {"b": value}]}, max_depth=4) == reason


@pytest.mark.parametrize(("depth", "is_plain"), [(3, True), (4, False), (100_000, False)])
def test_only_so_many_levels_are_plain(depth, is_plain):
    value: object = 1
    for _ in range(depth):
        value = [value]

    assert (why_not_plain(value, max_depth=3) is None) is is_plain


ODD_LEAF = st.integers(MAX_INTEGER - 2, 2**64 - 1) | st.just(msgpack.Timestamp(1, 0)) | st.binary(max_size=300)
LEAF = st.none() | st.booleans() | st.integers(MIN_INTEGER, MAX_INTEGER) | st.floats() | st.text() | ODD_LEAF
ANYTHING = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text() | st.binary(max_size=3), inner, max_size=20),
    max_leaves=40,
)


@given(ANYTHING, st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_what_a_quick_look_clears_is_plain(value, max_depth):
    packed = msgpack.packb(value)

    assert may_be_odd(packed, max_depth=max_depth) or why_not_plain(value, max_depth=max_depth) is None


@pytest.mark.parametrize("value", [1, "text", {"v": 1, "body": {"a": [1.5, "x", None]}}, [[]]], ids=repr)
def test_a_quick_look_clears_usual_values(value):
    assert not may_be_odd(msgpack.packb(value), max_depth=32)
