"""Where each tensor lies in one flat buffer. Pure arithmetic on names, dtypes and shapes.

Must not know where the bytes come from or go to; digests are the business of `manifest`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tetrad_weights.errors import ManifestError
from tetrad_wire.messages.weights import TensorSpec

# A cache line, and the alignment that torch gives its own CPU tensors.
ALIGNMENT: Final = 64

ITEM_BYTES: Final[Mapping[str, int]] = {
    "float64": 8,
    "int64": 8,
    "float32": 4,
    "int32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int16": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
"""Bytes of one element, by the dtype's name in torch."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """What is to be laid out."""

    name: str
    """Hugging Face parameter name."""
    dtype: str
    """A key of `ITEM_BYTES`."""
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Tensors one after the other, each aligned; digests are still empty."""

    tensors: tuple[TensorSpec, ...]
    num_bytes: int
    """Of the whole buffer."""


def lay_out(parameters: Iterable[Parameter]) -> Layout:
    """Give each parameter its place, in the order given.

    Raises ManifestError for a name that comes twice, a dtype that nobody knows or a negative extent.

    >>> layout = lay_out([Parameter("a", "bfloat16", (3,)), Parameter("b", "float32", (2, 2))])
    >>> [(tensor.offset, tensor.num_bytes) for tensor in layout.tensors], layout.num_bytes
    ([(0, 6), (64, 16)], 80)
    """
    tensors: list[TensorSpec] = []
    names: set[str] = set()
    end = 0
    for parameter in parameters:
        if parameter.name in names:
            raise ManifestError(f"tensor {parameter.name} is named twice")
        names.add(parameter.name)
        tensors.append(_place(parameter, offset=align(end)))
        end = tensors[-1].offset + tensors[-1].num_bytes
    return Layout(tensors=tuple(tensors), num_bytes=end)


def align(offset: int) -> int:
    """Round up to the next aligned offset.

    >>> align(0), align(1), align(64)
    (0, 64, 64)
    """
    return -(-offset // ALIGNMENT) * ALIGNMENT


def size_of(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of a dense tensor; raises ManifestError for an unknown dtype or a negative extent."""
    item_bytes = ITEM_BYTES.get(dtype)
    if item_bytes is None:
        raise ManifestError(f"dtype {dtype[:32]!r} is none of {', '.join(ITEM_BYTES)}")
    if any(extent < 0 for extent in shape):
        raise ManifestError(f"shape {shape} has a negative extent")
    return item_bytes * math.prod(shape)


def _place(parameter: Parameter, *, offset: int) -> TensorSpec:
    return TensorSpec(
        name=parameter.name,
        dtype=parameter.dtype,
        shape=parameter.shape,
        offset=offset,
        num_bytes=size_of(parameter.dtype, parameter.shape),
    )
