"""Copies a version from another process's GPU memory into the stage, and digests what arrived."""

import torch
from torch import Tensor

from tetrad_devices.digest import SumTable
from tetrad_devices.maps import DeviceMaps
from tetrad_rollout.engine.errors import DigestMismatchError, LayoutError
from tetrad_rollout.engine.sglang.stage import part_of
from tetrad_weights.digest import DigestAlgorithm
from tetrad_wire.messages.weights import DeviceHandle, Manifest


class DeviceCopier:
    """For one thread at a time. Keeps the maps of the exporter's few buffers, and where the stage's tensors lie."""

    def __init__(self) -> None:
        self._maps = DeviceMaps()
        self._table: tuple[int, int, SumTable] | None = None

    def take(self, handle: DeviceHandle, manifest: Manifest, stage: Tensor) -> None:
        """Fill `stage` uint8[manifest.num_bytes]; blocks until the device is done.

        Raises:
            TransportUnusableError: the memory is not the one that was promised.
            LayoutError: the manifest's digests cannot be taken on a GPU.
            DigestMismatchError: a tensor arrived with other bytes; it is named.
        """
        if manifest.algorithm != DigestAlgorithm.SUM64:
            raise LayoutError(f"weights in GPU memory need digests by sum64; the manifest has {manifest.algorithm}")
        with self._maps.attach(handle) as source:
            stage.copy_(source)
            torch.cuda.current_stream(stage.device).synchronize()
        for spec, found in zip(manifest.tensors, self._table_of(stage, manifest).digests(), strict=True):
            if found != spec.digest:
                raise DigestMismatchError(
                    f"{spec.name} arrived with digest {found}; the manifest of {manifest.digest} says {spec.digest}"
                )

    def close(self) -> None:
        """Unmap everything."""
        self._maps.close()

    def _table_of(self, stage: Tensor, manifest: Manifest) -> SumTable:
        key = (stage.data_ptr(), hash(tuple((spec.offset, spec.num_bytes) for spec in manifest.tensors)))
        if self._table is None or self._table[:2] != key:
            self._table = (*key, SumTable([part_of(stage, spec) for spec in manifest.tensors]))
        return self._table[2]
