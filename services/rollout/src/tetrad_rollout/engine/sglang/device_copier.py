"""Copies a version from other processes' GPU memory into the stage, and digests what arrived."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tetrad_devices.digest import SumTable
from tetrad_devices.facts import uuid_of
from tetrad_devices.maps import DeviceMaps
from tetrad_rollout.engine.errors import DigestMismatchError, LayoutError
from tetrad_rollout.engine.sglang.stage import part_of
from tetrad_weights.digest import DigestAlgorithm
from tetrad_wire.messages.weights import DeviceHandle, Manifest


class DeviceCopier:
    """For one thread at a time. Keeps the maps of the exporter's few buffers, and where the stage's tensors lie."""

    def __init__(self) -> None:
        self._maps = DeviceMaps()
        self._tables: dict[torch.device, tuple[int, int, SumTable]] = {}

    def take(self, handles: Sequence[DeviceHandle], manifest: Manifest, stages: Sequence[Tensor]) -> None:
        """Fill each stage uint8[manifest.num_bytes] from the handle on its GPU, or from the first; blocks until done.

        Raises:
            TransportUnusableError: the memory is not the one that was promised.
            LayoutError: the manifest's digests cannot be taken on a GPU.
            DigestMismatchError: a tensor arrived with other bytes; it is named.
        """
        if manifest.algorithm != DigestAlgorithm.SUM64:
            raise LayoutError(f"weights in GPU memory need digests by sum64; the manifest has {manifest.algorithm}")
        on_gpu = {handle.gpu: handle for handle in handles}
        for stage in stages:
            with self._maps.attach(on_gpu.get(uuid_of(stage.device), handles[0])) as source:
                stage.copy_(source)
                torch.cuda.current_stream(stage.device).synchronize()
            self._check(stage, manifest)

    def close(self) -> None:
        """Unmap everything."""
        self._maps.close()

    def _check(self, stage: Tensor, manifest: Manifest) -> None:
        for spec, found in zip(manifest.tensors, self._table_of(stage, manifest).digests(), strict=True):
            if found != spec.digest:
                raise DigestMismatchError(
                    f"{spec.name} arrived with digest {found}; the manifest of {manifest.digest} says {spec.digest}"
                )

    def _table_of(self, stage: Tensor, manifest: Manifest) -> SumTable:
        key = (stage.data_ptr(), hash(tuple((spec.offset, spec.num_bytes) for spec in manifest.tensors)))
        if self._tables.get(stage.device, ())[:2] != key:
            self._tables[stage.device] = (*key, SumTable([part_of(stage, spec) for spec in manifest.tensors]))
        return self._tables[stage.device][2]
