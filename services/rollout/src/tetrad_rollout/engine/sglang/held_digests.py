"""Digests of tensors where they lie, by a manifest's algorithm."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tetrad_weights.digest import Bytes, DigestAlgorithm, digest

if TYPE_CHECKING:
    from tetrad_devices.digest import SumTable

_last: dict[str, Any] = {}
"""The table that was used last, in the one thread of a scheduler."""


def digests_of(tensors: Mapping[str, Tensor], algorithm: str) -> dict[str, str]:
    """Return the digest of each tensor's bytes; on a GPU all of them in one launch."""
    chosen = DigestAlgorithm(algorithm)
    if chosen is DigestAlgorithm.SUM64 and all(tensor.is_cuda for tensor in tensors.values()):
        return dict(zip(tensors, _table_of(tuple(tensors.values())).digests(), strict=True))
    return {name: digest(_bytes(tensor), chosen) for name, tensor in tensors.items()}


def _table_of(tensors: tuple[Tensor, ...]) -> "SumTable":
    """Where the tensors' words lie; parameters stay where they are, so that the last table serves again."""
    from tetrad_devices.digest import SumTable

    places = tuple((tensor.data_ptr(), tensor.numel()) for tensor in tensors)
    if _last.get("places") != places:
        _last.update(places=places, table=SumTable(tensors))
    table: SumTable = _last["table"]
    return table


def _bytes(tensor: Tensor) -> Bytes:
    flat: Bytes = tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy()
    return flat
