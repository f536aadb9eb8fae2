"""Bytes leave and come back; tensors and their views stay what they are."""

import pytest
import torch

from tetrad_learner.trainer.residence import Residence

CPU = torch.device("cpu")


def test_what_comes_back_is_what_went_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(7, 5, generator=generator), torch.randn(3, generator=generator).bfloat16()]
    before = [tensor.clone() for tensor in tensors]
    residence = Residence(lambda: tensors, device=CPU)

    moved = residence.offload()
    sizes = [tensor.untyped_storage().nbytes() for tensor in tensors]
    back = residence.load_back()

    assert moved == back == 7 * 5 * 4 + 3 * 2
    assert sizes == [0, 0]
    for tensor, whole in zip(tensors, before, strict=True):
        assert torch.equal(tensor, whole)


def test_views_and_tied_tensors_go_once_and_see_what_came_back() -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    row, tied = whole[1], whole.view(-1)
    residence = Residence(lambda: [whole, row, tied], device=CPU)

    assert residence.offload() == 12 * 4
    residence.load_back()
    whole[1, 0] = -1.0

    assert row.tolist() == [-1.0, 5.0, 6.0, 7.0]
    assert tied[4].item() == -1.0


def test_repeating_changes_nothing() -> None:
    tensor = torch.ones(4)
    residence = Residence(lambda: [tensor], device=CPU)

    assert residence.load_back() == 0
    residence.offload()
    assert residence.offload() == 0
    residence.load_back()

    assert tensor.tolist() == [1.0] * 4


def test_the_newest_values_go_each_time() -> None:
    tensor = torch.zeros(2)
    residence = Residence(lambda: [tensor], device=CPU)

    for value in (1.0, 2.0):
        tensor.fill_(value)
        residence.offload()
        residence.load_back()

        assert tensor.tolist() == [value, value]


def test_nothing_is_computed_with_what_is_away() -> None:
    residence = Residence(lambda: [torch.ones(1)], device=CPU)
    residence.require_here()

    residence.offload()

    with pytest.raises(RuntimeError, match="on the host"):
        residence.require_here()


def test_what_lies_elsewhere_stays() -> None:
    tensor = torch.ones(3)
    residence = Residence(lambda: [tensor], device=torch.device("cuda"))

    assert list(residence._storages()) == []
