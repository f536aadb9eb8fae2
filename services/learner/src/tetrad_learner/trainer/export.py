"""Export: the policy's weights as whole tensors under their Hugging Face names, one at a time, adapters merged.

Owns the gathering of shards. Every function that touches values is collective: all ranks call it, rank 0 gets the
bytes. Must not know who wants the weights or how they travel; the layout of a buffer is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tetrad_learner.trainer.adapters import PREFIX, whole_tensor
from tetrad_learner.trainer.policy import Policy, named_weights

DTYPES: Final[dict[str, torch.dtype]] = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64,
        torch.float32,
        torch.bfloat16,
        torch.float16,
        torch.int64,
        torch.int32,
        torch.uint8,
        torch.bool,
    )
}

BATCH_BYTES: Final = 256 << 20
"""Gathered tensors that are copied to a device's memory together."""


class Placement(Protocol):
    """Where one tensor lies in a flat buffer."""

    @property
    def name(self) -> str:
        """Hugging Face name."""
        ...

    @property
    def dtype(self) -> str:
        """Name of a torch dtype: float32, bfloat16, …."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Whole shape."""
        ...

    @property
    def offset(self) -> int:
        """First byte."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightShape:
    """One tensor of the model, from which a layout is made."""

    name: str
    dtype: str
    """Of the master weights."""
    shape: tuple[int, ...]


class Part(StrEnum):
    """What of a policy is exported."""

    MERGED = "merged"
    """All weights, with what adapters add to them."""
    BASE = "base"
    """All weights, as they are below the adapters."""
    ADAPTERS = "adapters"
    """The adapters alone, under peft's names."""


def weight_shapes(policy: Policy, part: Part = Part.MERGED) -> tuple[WeightShape, ...]:
    """Return names and whole shapes in Hugging Face order, tied tensors once; not collective."""
    return tuple(
        WeightShape(name=name, dtype=dtype_name(tensor.dtype), shape=tuple(tensor.shape))
        for name, tensor in _named(policy, part)
    )


@torch.no_grad()
def gathered_weights(policy: Policy, part: Part = Part.MERGED) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, whole contiguous CPU tensor of the master weights); collective, and each rank must exhaust it.

    An adapter is merged in the master's float32. No more than one tensor is whole at a time. On one CPU rank the
    tensors are views of the live weights: copy, never write.
    """
    for name, whole in _whole(policy, part):
        yield name, whole.detach().cpu().contiguous()


def fill(
    policy: Policy,
    *,
    buffer: memoryview | NDArray[np.uint8] | None,
    layout: Sequence[Placement],
    part: Part = Part.MERGED,
) -> None:
    """Copy each weight to its place in `buffer`, converting the dtype; collective.

    Rank 0 passes the buffer, the others None. Raises ValueError, before anything is gathered, where layout and model
    do not hold the same names and shapes or the buffer is too short.
    """
    places = {place.name: place for place in layout}
    _check_layout(policy, places, part)
    target = None if buffer is None else torch.from_numpy(np.frombuffer(buffer, dtype=np.uint8))
    if target is not None:
        _check_length(len(target), _needed(layout))
    for name, whole in gathered_weights(policy, part):
        if target is not None:
            window(target, places[name]).copy_(whole)


class DeviceExport:
    """Fills memory on the policy's device again and again: layout and model are compared once, places found once.

    On every rank, and collective. The same bytes as `fill` gives. Nothing passes through the host, but for shards that
    are kept there.
    """

    def __init__(self, policy: Policy, *, layout: Sequence[Placement], part: Part = Part.MERGED) -> None:
        """Raise ValueError where layout and model do not hold the same names and shapes."""
        places = {place.name: place for place in layout}
        _check_layout(policy, places, part)
        self.layout = layout
        self._policy, self._part = policy, part
        self._num_bytes = _needed(layout)
        self._spots = {name: _Spot.of(place) for name, place in places.items()}

    @torch.no_grad()
    def fill(self, buffer: Tensor) -> None:
        """Copy each weight to its place in uint8[bytes of the layout], a batch of them in few launches.

        Raises ValueError, before anything is gathered, where the buffer is too short.
        """
        _check_length(buffer.numel(), self._num_bytes)
        typed = {dtype: _as_dtype(buffer, dtype) for dtype in {spot.dtype for spot in self._spots.values()}}
        for batch in _batches(_whole(self._policy, self._part)):
            spots = [self._spots[name] for name, _whole_tensor in batch]
            targets = [typed[spot.dtype].as_strided(spot.shape, spot.strides, spot.start) for spot in spots]
            torch._foreach_copy_(targets, [tensor for _name, tensor in batch])


@dataclass(frozen=True, slots=True)
class _Spot:
    """A place, in the elements of its dtype."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    start: int

    @classmethod
    def of(cls, place: Placement) -> _Spot:
        dtype = dtype_called(place.dtype)
        start, ragged = divmod(place.offset, dtype.itemsize)
        if ragged:
            raise ValueError(f"{place.name} begins at byte {place.offset}, which is no multiple of {dtype.itemsize}")
        return cls(dtype, tuple(place.shape), torch.empty(place.shape, device="meta").stride(), start)


def _as_dtype(buffer: Tensor, dtype: torch.dtype) -> Tensor:
    """The memory's whole elements."""
    return buffer[: buffer.numel() // dtype.itemsize * dtype.itemsize].view(dtype)


def _batches(named: Iterator[tuple[str, Tensor]]) -> Iterator[list[tuple[str, Tensor]]]:
    """Tensors that are whole at a time: few bytes of them, unless one alone is larger."""
    batch: list[tuple[str, Tensor]] = []
    size = 0
    for name, tensor in named:
        batch.append((name, tensor))
        size += tensor.nbytes
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def window(buffer: Tensor, place: Placement) -> Tensor:
    """Return the part of uint8 memory that a tensor lies in, as that tensor."""
    piece = buffer[place.offset : place.offset + num_bytes(place)]
    return piece.view(dtype_called(place.dtype)).view(place.shape)


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name without torch's prefix.

    >>> dtype_name(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")


def dtype_called(name: str) -> torch.dtype:
    """Return the torch dtype of that name; raises ValueError for one that no layout may hold."""
    if name not in DTYPES:
        raise ValueError(f"dtype {name!r} cannot be exported; known are {', '.join(DTYPES)}")
    return DTYPES[name]


def num_bytes(place: Placement) -> int:
    """Return the bytes that a placed tensor takes."""
    return int(np.prod(place.shape, dtype=np.int64)) * dtype_called(place.dtype).itemsize


def _named(policy: Policy, part: Part) -> Iterator[tuple[str, Tensor]]:
    if part is not Part.ADAPTERS:
        yield from named_weights(policy)
    elif policy.adapters is not None:
        yield from ((PREFIX + name, factor) for name, factor in policy.adapters.named_factors())


def _whole(policy: Policy, part: Part) -> Iterator[tuple[str, Tensor]]:
    """Each tensor whole, where its shards are computed with; collective."""
    for name, tensor in _named(policy, part):
        whole = whole_tensor(tensor)
        is_merged = part is Part.MERGED and policy.adapters is not None
        correction = policy.adapters.correction(name) if is_merged and policy.adapters else None
        yield name, whole if correction is None else whole + correction


def _check_layout(policy: Policy, places: dict[str, Placement], part: Part) -> None:
    shapes = {weight.name: weight.shape for weight in weight_shapes(policy, part)}
    placed = {name: tuple(place.shape) for name, place in places.items()}
    for name in shapes | placed:
        if shapes.get(name) != placed.get(name):
            raise ValueError(f"{name} is {shapes.get(name)} in the model and {placed.get(name)} in the layout")


def _needed(layout: Sequence[Placement]) -> int:
    return max((place.offset + num_bytes(place) for place in layout), default=0)


def _check_length(length: int, needed: int) -> None:
    if needed > length:
        raise ValueError(f"the layout needs {needed} bytes; the buffer has {length}")
