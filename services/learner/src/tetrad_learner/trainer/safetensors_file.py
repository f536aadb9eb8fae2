"""Writing one safetensors file as its tensors arrive, so that the whole model is never in memory twice.

Format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}, then the bytes
(github.com/huggingface/safetensors, "Format"). Must not know of ranks or models.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from tetrad_learner.trainer.export import WeightShape, dtype_called

CODES: Final = {
    "float64": "F64",
    "float32": "F32",
    "bfloat16": "BF16",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "uint8": "U8",
    "bool": "BOOL",
}
# Data begins at a multiple of this, so that a mapped file can be read in place.
ALIGNMENT: Final = 64


def write_safetensors(path: Path, *, shapes: Sequence[WeightShape], tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Write `tensors`, which come in the order of `shapes`, each converted to the dtype given there; fsyncs."""
    header = _header(shapes)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for shape, (name, tensor) in zip(shapes, tensors, strict=True):
            assert name == shape.name
            flat = tensor.to(dtype_called(shape.dtype)).contiguous().flatten()
            file.write(flat.view(torch.uint8).numpy().data)
        file.flush()
        os.fsync(file.fileno())


def _header(shapes: Sequence[WeightShape]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for shape in shapes:
        end = offset + dtype_called(shape.dtype).itemsize * _numel(shape.shape)
        entries[shape.name] = {
            "dtype": CODES[shape.dtype],
            "shape": list(shape.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    return text + b" " * (-(len(text) + 8) % ALIGNMENT)


def _numel(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
