"""Where the tensors of a rank live: where it computes, or in the host's memory while its GPU is lent to an engine.

A tensor keeps its identity, its shape and all its views: only the bytes under it go and come back. FSDP, the
optimizer and tied weights hold on to the same storage, and need not know.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, UntypedStorage
from torch.distributed.tensor import DTensor


@dataclass(frozen=True, slots=True)
class _Parked:
    storage: UntypedStorage
    host: Tensor
    """uint8: its bytes."""


class Residence:
    """Everything that a rank holds from step to step."""

    def __init__(self, tensors: Callable[[], Iterable[Tensor]], *, device: torch.device) -> None:
        self._tensors = tensors
        self._device = device
        self._parked: list[_Parked] = []
        self._hosts: dict[int, Tensor] = {}
        """Buffers on the host by size and place, kept: pinning memory takes longer than copying into it."""

    @property
    def is_away(self) -> bool:
        """Whether the bytes are on the host, so that nothing can be computed."""
        return bool(self._parked)

    def require_here(self) -> None:
        """Raise RuntimeError while the bytes are away."""
        if self.is_away:
            raise RuntimeError("the tensors of this rank are on the host; load_back() before anything is computed")

    @torch.no_grad()
    def offload(self) -> int:
        """Copy everything to the host and let go of the device's memory; return the bytes. Repeating it is safe."""
        if self.is_away:
            return 0
        for number, storage in enumerate(self._storages()):
            host = self._host(number, storage.nbytes())
            host.copy_(_bytes_of(storage), non_blocking=True)
            self._parked.append(_Parked(storage, host))
        self._synchronize()
        for parked in self._parked:
            parked.storage.resize_(0)
        self._release_caches()
        return sum(parked.host.numel() for parked in self._parked)

    @torch.no_grad()
    def load_back(self) -> int:
        """Bring everything back, bit for bit; return the bytes. Repeating it is safe."""
        num_bytes = sum(parked.host.numel() for parked in self._parked)
        for parked in self._parked:
            parked.storage.resize_(parked.host.numel())
            _bytes_of(parked.storage).copy_(parked.host, non_blocking=True)
        self._synchronize()
        self._parked.clear()
        return num_bytes

    def _storages(self) -> Iterable[UntypedStorage]:
        """Each storage on the device once, however many tensors look into it."""
        seen: set[int] = set()
        for tensor in self._tensors():
            local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
            storage = local.untyped_storage()
            is_ours = local.device.type == self._device.type and storage.nbytes() > 0
            if is_ours and storage.data_ptr() not in seen:
                seen.add(storage.data_ptr())
                yield storage

    def _host(self, number: int, num_bytes: int) -> Tensor:
        host = self._hosts.get(number)
        if host is None or host.numel() != num_bytes:
            host = torch.empty(num_bytes, dtype=torch.uint8, pin_memory=self._device.type == "cuda")
            self._hosts[number] = host
        return host

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _release_caches(self) -> None:
        if self._device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()


def _bytes_of(storage: UntypedStorage) -> Tensor:
    """View a storage as uint8, from its beginning to its end."""
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
