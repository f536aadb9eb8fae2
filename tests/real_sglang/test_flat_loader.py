"""A whole version is copied into parameters where that is what loading it means, and left to SGLang elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tetrad_rollout.engine.sglang.flat_loader import FlatLoader, derived, targets_of
from tetrad_rollout.engine.sglang.stage import FLAT, METADATA, pieces
from tetrad_weights import Layout, Parameter, lay_out

pytestmark = pytest.mark.sglang

LAYOUT = lay_out([Parameter("norm", "float32", (3,)), Parameter("table", "float32", (5, 3))])


class Model(nn.Module):
    """Holds a table that is padded to 8 rows."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(8, 3), requires_grad=False)
        self.norm = nn.Parameter(torch.zeros(3), requires_grad=False)


class Theirs:
    """SGLang's loader, which tells whether it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, bucket: dict[str, Any]) -> tuple[bool, str]:
        self.calls += 1
        return True, "Success"


def held(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.data for name, parameter in model.named_parameters()}


def bucket(layout: Layout = LAYOUT) -> dict[str, Any]:
    flat = torch.arange(-(-layout.num_bytes // 4), dtype=torch.float32).view(torch.uint8)[: layout.num_bytes]
    return {FLAT: flat, METADATA: pieces(layout.tensors)}


def test_every_tensor_arrives_and_padding_stays() -> None:
    model, theirs = Model(), Theirs()
    brought = bucket()

    assert FlatLoader(model, theirs, lambda: held(model))(brought) == (True, "Success")

    for spec, target in zip(LAYOUT.tensors, (model.norm.data, model.table.data[:5]), strict=True):
        part = brought[FLAT][spec.offset : spec.offset + spec.num_bytes]
        assert torch.equal(target, part.view(torch.float32).view(spec.shape))
    assert not model.table.data[5:].any()
    assert theirs.calls == 0


def test_the_next_version_goes_the_same_way_and_another_one_where_something_moved() -> None:
    model = Model()
    places = [held(model)]
    loader = FlatLoader(model, Theirs(), lambda: places[-1])
    loader(bucket())
    expected = model.table.data.clone()
    model.table.data.zero_()

    loader(bucket())

    assert torch.equal(model.table.data, expected)
    model.table.data = torch.zeros(8, 3)
    places.append(held(model))
    loader(bucket())
    assert torch.equal(model.table.data, expected)


def test_tensors_of_several_formats_arrive() -> None:
    model, theirs = Model(), Theirs()
    model.norm.data = model.norm.data.bfloat16()
    layout = lay_out([Parameter("norm", "bfloat16", (3,)), Parameter("table", "float32", (5, 3))])
    brought = bucket(layout)

    FlatLoader(model, theirs, lambda: held(model))(brought)

    for spec, target in zip(layout.tensors, (model.norm.data, model.table.data[:5]), strict=True):
        part = brought[FLAT][spec.offset : spec.offset + spec.num_bytes]
        assert torch.equal(target, part.view(target.dtype).view(spec.shape))
    assert theirs.calls == 0


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ([Parameter("norm", "float32", (3,))], "table is held and not brought"),
        ([*LAYOUT.tensors, Parameter("bias", "float32", (3,))], "bias is not held"),
        ([Parameter("norm", "float32", (3,)), Parameter("table", "float32", (5, 2))], "table is torch.float32"),
        ([Parameter("norm", "float32", (3,)), Parameter("table", "bfloat16", (5, 3))], "bfloat16 [5, 3] is brought"),
        ([Parameter("norm", "float32", (3,)), Parameter("table", "float32", (16, 3))], "table is torch.float32"),
    ],
    ids=["one less", "one more", "another shape", "another format", "a whole of which shards are held"],
)
def test_what_is_not_a_plain_copy_is_left_to_sglang(others: list[Any], reason: str) -> None:
    model, theirs = Model(), Theirs()
    layout = lay_out(Parameter(one.name, one.dtype, one.shape) for one in others)
    brought = bucket(layout)

    FlatLoader(model, theirs, lambda: held(model))(brought)

    found = targets_of(held(model), brought[METADATA])
    assert isinstance(found, str)
    assert reason in found
    assert theirs.calls == 1
    assert not model.norm.data.any()


def test_a_model_that_keeps_what_it_computed_from_its_weights_is_left_to_sglang() -> None:
    model, theirs = Model(), Theirs()
    model.absorbed = torch.zeros(2)  # as layers with latent attention do

    assert "absorbed" in derived(model)
    FlatLoader(model, theirs, lambda: held(model))(bucket())

    assert theirs.calls == 1
