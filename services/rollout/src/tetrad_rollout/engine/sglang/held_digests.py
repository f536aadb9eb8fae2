"""Digests of tensors where they lie, by a manifest's algorithm."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tetrad_weights.digest import Bytes, DigestAlgorithm, digest


def digests_of(tensors: Mapping[str, Tensor], algorithm: str) -> dict[str, str]:
    """Return the digest of each tensor's bytes; on a GPU all of them in one launch."""
    chosen = DigestAlgorithm(algorithm)
    if chosen is DigestAlgorithm.SUM64 and all(tensor.is_cuda for tensor in tensors.values()):
        from tetrad_devices.digest import sum64

        return dict(zip(tensors, sum64(list(tensors.values())), strict=True))
    return {name: digest(_bytes(tensor), chosen) for name, tensor in tensors.items()}


def _bytes(tensor: Tensor) -> Bytes:
    flat: Bytes = tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy()
    return flat
