"""The file is one that safetensors reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tetrad_learner.trainer.export import WeightShape
from tetrad_learner.trainer.safetensors_file import write_safetensors


def test_what_was_written_is_read_back_in_the_dtype_asked_for(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 5), "b": torch.arange(4), "c": torch.randn(()), "d": torch.randn(7, 2).T}
    dtypes = {"a": "bfloat16", "b": "int64", "c": "float32", "d": "float32"}
    shapes = [WeightShape(name=n, dtype=dtypes[n], shape=tuple(t.shape)) for n, t in tensors.items()]

    write_safetensors(tmp_path / "x.safetensors", shapes=shapes, tensors=tensors.items())

    found = load_file(tmp_path / "x.safetensors")
    assert {name: str(t.dtype).removeprefix("torch.") for name, t in found.items()} == dtypes
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor.to(found[name].dtype))


def test_fewer_tensors_than_announced_are_an_error(tmp_path: Path) -> None:
    shapes = [WeightShape(name="a", dtype="float32", shape=(1,))]

    with pytest.raises(ValueError, match="shorter"):
        write_safetensors(tmp_path / "x.safetensors", shapes=shapes, tensors=[])
