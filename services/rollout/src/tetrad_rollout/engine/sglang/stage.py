"""The buffer that a version waits in beside the server, and how the server is told to read it.

On a CPU it is shared memory, on a GPU device memory of this process with a host side for bytes that come by
sockets. Owns the memory; knows no version.
"""

from collections.abc import Sequence
from typing import Final

import torch
from sglang.srt.utils import MultiprocessingSerializer
from sglang.srt.weight_sync.tensor_bucket import FlattenedTensorMetadata
from torch import Tensor

from tetrad_rollout.engine.errors import LayoutError, WeightStateError
from tetrad_rollout.engine.protocol import WeightLayout
from tetrad_weights.digest import Bytes
from tetrad_wire.messages.weights import TensorSpec

FLAT: Final = "flattened_tensor"
METADATA: Final = "metadata"


class Stage:
    """Memory for one version."""

    def __init__(self, *, is_on_gpu: bool) -> None:
        self._is_on_gpu = is_on_gpu
        self._host: Tensor | None = None
        self._device: Tensor | None = None
        self.layout: WeightLayout | None = None
        self._is_on_device = False

    def begin(self, layout: WeightLayout) -> Bytes:
        """The host side, for the caller to fill; its old content means nothing."""
        if self._host is None or self._host.numel() != layout.num_bytes:
            empty = torch.empty(layout.num_bytes, dtype=torch.uint8, pin_memory=self._is_on_gpu)
            self._host = empty if self._is_on_gpu else empty.share_memory_()  # type: ignore[no-untyped-call]  # torch's own
        self.layout, self._is_on_device = layout, False
        buffer: Bytes = self._host.numpy()
        return buffer

    def begin_on_device(self, layout: WeightLayout) -> Tensor:
        """The device side uint8[num_bytes], for the caller to fill."""
        self._make_device_side(layout)
        assert self._device is not None
        self.layout, self._is_on_device = layout, True
        return self._device

    def to_device(self) -> None:
        """Copy the host side over, where the server reads device memory; blocks until the copy is whole."""
        if not self._is_on_gpu or self._is_on_device:
            return
        assert self.layout is not None
        assert self._host is not None
        self._make_device_side(self.layout)
        assert self._device is not None
        self._device.copy_(self._host)
        self._is_on_device = True

    @property
    def host_side(self) -> Bytes:
        """The host side, where the digest of bytes that came that way is taken."""
        if self._host is None or self.layout is None:
            raise WeightStateError("nothing is staged; call begin_stage first")
        buffer: Bytes = self._host.numpy()
        return buffer

    def payload(self) -> bytes:
        """What SGLang's scheduler needs to read the stage where it lies; one for each of its processes."""
        if self.layout is None:
            raise WeightStateError("nothing is staged; call begin_stage first")
        flat = self._device if self._is_on_gpu else self._host
        data: bytes = MultiprocessingSerializer.serialize({FLAT: flat, METADATA: metadata(self.layout.tensors)})
        return data

    def release(self) -> None:
        """Give the memory back."""
        self._host = self._device = self.layout = None
        self._is_on_device = False
        if self._is_on_gpu:
            torch.cuda.empty_cache()

    def _make_device_side(self, layout: WeightLayout) -> None:
        if self._device is None or self._device.numel() != layout.num_bytes:
            self._device = None
            self._device = torch.empty(layout.num_bytes, dtype=torch.uint8, device=torch.device("cuda"))


def metadata(tensors: Sequence[TensorSpec]) -> list[FlattenedTensorMetadata]:
    """SGLang's description of a flat buffer; its offsets are bytes."""
    return [
        FlattenedTensorMetadata(
            name=spec.name,
            shape=torch.Size(spec.shape),
            dtype=dtype_called(spec.dtype),
            start_idx=spec.offset,
            end_idx=spec.offset + spec.num_bytes,
            numel=spec.num_bytes,
        )
        for spec in tensors
    ]


def part_of(flat: Tensor, spec: TensorSpec) -> Tensor:
    """The bytes of one tensor in a flat buffer."""
    return flat[spec.offset : spec.offset + spec.num_bytes]


def dtype_called(name: str) -> torch.dtype:
    """The torch dtype of that name."""
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise LayoutError(f"{name!r} is no torch dtype; use float32 or bfloat16")
    return dtype
