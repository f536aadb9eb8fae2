"""Two buffers, swapped without a copy."""

from __future__ import annotations

import numpy as np
import pytest

from tetrad_rollout.engine.errors import LayoutError, WeightStateError
from tetrad_rollout.engine.flat_weights import FlatWeights, aligned_zeros, manifest_digest
from tetrad_weights import Layout, Parameter, build, lay_out
from tetrad_weights.digest import DigestAlgorithm


def a_layout(*names: str, shape: tuple[int, ...] = (3,)) -> Layout:
    return lay_out(Parameter(name, "float32", shape) for name in names or ("a", "b"))


def test_buffers_are_aligned_to_a_cache_line() -> None:
    assert all(aligned_zeros(size).ctypes.data % 64 == 0 for size in (1, 100, 5000))


def test_a_swap_copies_nothing_and_reuses_the_memory_of_what_was_live() -> None:
    weights = FlatWeights(a_layout())
    first = weights.live
    stage = weights.begin_stage(a_layout())
    stage[:] = 7
    weights.swap()

    again = weights.begin_stage(a_layout())

    assert weights.live.ctypes.data == stage.ctypes.data
    assert again.ctypes.data == first.ctypes.data
    assert (weights.live == 7).all()


def test_a_sealed_stage_refuses_writes_and_the_next_takes_them() -> None:
    weights = FlatWeights(a_layout())
    stage = weights.begin_stage(a_layout())
    weights.seal_stage()

    with pytest.raises(ValueError, match="read-only"):
        stage[0] = 1
    weights.begin_stage(a_layout())[0] = 1


def test_a_layout_may_have_another_order_and_size() -> None:
    weights = FlatWeights(a_layout("a", "b"))
    other = Layout(tensors=a_layout("b", "a").tensors, num_bytes=4096)

    assert weights.begin_stage(other).size == 4096


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (a_layout("a"), "missing: .*b"),
        (a_layout("a", "b", "c"), "unknown: .*c"),
        (a_layout("a", "b", shape=(4,)), r"float32\[4\].*float32\[3\]"),
        (lay_out([Parameter("a", "bfloat16", (3,)), Parameter("b", "float32", (3,))]), "bfloat16"),
        (Layout(tensors=a_layout().tensors, num_bytes=70), "must be in"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused_by_name(layout: Layout, said: str) -> None:
    with pytest.raises(LayoutError, match=said):
        FlatWeights(a_layout()).begin_stage(layout)


def test_nothing_staged_is_an_error_and_not_a_swap() -> None:
    with pytest.raises(WeightStateError, match="begin_stage"):
        FlatWeights(a_layout()).swap()


@pytest.mark.parametrize("algorithm", DigestAlgorithm)
def test_the_digest_is_the_manifests_in_its_own_algorithm(algorithm: DigestAlgorithm) -> None:
    layout = a_layout()
    buffer = np.arange(layout.num_bytes, dtype=np.uint8)
    manifest = build(layout, buffer, algorithm=algorithm)

    assert manifest_digest(buffer, manifest) == manifest.digest
