"""Promises of the flat layout."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrad_weights.errors import ManifestError
from tetrad_weights.layout import ALIGNMENT, ITEM_BYTES, Parameter, lay_out

SHAPES = st.lists(st.integers(0, 40), max_size=3).map(tuple)
PARAMETERS = st.lists(st.tuples(st.sampled_from(sorted(ITEM_BYTES)), SHAPES), max_size=20)


@given(PARAMETERS)
def test_tensors_are_aligned_in_order_and_never_overlap(described):
    layout = lay_out(Parameter(f"t{index}", dtype, shape) for index, (dtype, shape) in enumerate(described))

    end = 0
    for tensor in layout.tensors:
        assert tensor.offset % ALIGNMENT == 0
        assert tensor.offset >= end
        assert tensor.num_bytes == ITEM_BYTES[tensor.dtype] * int(np.prod(tensor.shape, dtype=np.int64))
        end = tensor.offset + tensor.num_bytes
    assert layout.num_bytes == end


def test_a_layout_wastes_less_than_one_alignment_for_each_tensor():
    layout = lay_out(Parameter(f"t{index}", "uint8", (65,)) for index in range(10))

    assert layout.num_bytes - 650 < 10 * ALIGNMENT


def test_a_name_given_twice_is_refused():
    with pytest.raises(ManifestError, match="tensor a is named twice"):
        lay_out([Parameter("a", "float32", (1,)), Parameter("a", "float32", (2,))])


def test_an_unknown_dtype_is_refused_with_the_known_ones():
    with pytest.raises(ManifestError, match=r"'float3'.*float32"):
        lay_out([Parameter("a", "float3", (1,))])


def test_a_negative_extent_is_refused():
    with pytest.raises(ManifestError, match="negative extent"):
        lay_out([Parameter("a", "float32", (2, -1))])


def test_a_scalar_has_one_element():
    assert lay_out([Parameter("a", "float32", ())]).num_bytes == 4
