"""Arrays as message fields: what may ride in a buffer frame, and how alignment and range are checked."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"),
    "float32": np.dtype("<f4"),
    "float64": np.dtype("<f8"),
    "uint8": np.dtype("u1"),
}
"""Little-endian element types that a buffer may have, by their name on the wire."""


def require(array: Array, name: str, dtype: str, *, length: int | None = None) -> None:
    """Raise ValueError unless `array` is one-dimensional of `dtype` (and of `length`)."""
    if array.dtype != DTYPES[dtype] or array.ndim != 1:
        raise ValueError(f"{name} must be a one-dimensional {dtype} array, not {array.dtype}{list(array.shape)}")
    if length is not None and len(array) != length:
        raise ValueError(f"{name} has {len(array)} elements; its message needs {length}")


def require_range(array: Array, name: str, *, low: int, high: int | None = None) -> None:
    """Raise ValueError unless every element lies in `low` to `high`, both included."""
    if not array.size:
        return
    smallest, largest = int(array.min()), int(array.max())
    if smallest < low or (high is not None and largest > high):
        limits = f"at least {low}" if high is None else f"{low} to {high}"
        raise ValueError(f"{name} holds {smallest} to {largest}; it must hold {limits}")
