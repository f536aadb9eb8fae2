"""The buffer that a version waits in beside the server, and how the server is told to read it.

On a CPU it is shared memory, on GPUs memory of this process on each of them, with a host side for bytes that come by
sockets. Owns the memory; knows no version.
"""

# A server over several GPUs has a process on each, which reads the whole version on its own GPU and keeps its part.

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

Piece = tuple[str, str, tuple[int, ...], int, int]
"""A tensor in a flat buffer: name, dtype, shape, first byte, end. Plain values: hundreds of them are read at once."""


class Stage:
    """Memory for one version."""

    def __init__(self, *, is_on_gpu: bool, size: int = 1) -> None:
        self._is_on_gpu = is_on_gpu
        self._size = size
        """Processes of the server, each on a GPU of its own where there are any."""
        self._host: Tensor | None = None
        self._devices: list[Tensor] = []
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

    def begin_on_devices(self, layout: WeightLayout) -> list[Tensor]:
        """The side of each GPU, uint8[num_bytes], for the caller to fill all of them."""
        self._make_device_sides(layout)
        self.layout, self._is_on_device = layout, True
        return self._devices

    def to_device(self) -> None:
        """Copy the host side over, where the server reads device memory; blocks until the copies are whole."""
        if not self._is_on_gpu or self._is_on_device:
            return
        assert self.layout is not None
        assert self._host is not None
        self._make_device_sides(self.layout)
        for device in self._devices:
            device.copy_(self._host)
        self._is_on_device = True

    @property
    def host_side(self) -> Bytes:
        """The host side, where the digest of bytes that came that way is taken."""
        if self._host is None or self.layout is None:
            raise WeightStateError("nothing is staged; call begin_stage first")
        buffer: Bytes = self._host.numpy()
        return buffer

    def payloads(self) -> list[bytes]:
        """What each of SGLang's schedulers needs to read the stage where it lies; each may be read once.

        Described as `FlatLoader` takes it.
        """
        return [MultiprocessingSerializer.serialize({FLAT: side, METADATA: self._pieces()}) for side in self._sides()]

    def adapter_payload(self) -> bytes:
        """The same for a server on one GPU, described as SGLang takes adapters."""
        described = sglangs(self._pieces())
        serialized: bytes = MultiprocessingSerializer.serialize({FLAT: self._sides()[0], METADATA: described})
        return serialized

    def release(self) -> None:
        """Give the memory back."""
        self._host = self.layout = None
        self._devices, self._is_on_device = [], False
        if self._is_on_gpu:
            torch.cuda.empty_cache()

    def _pieces(self) -> list[Piece]:
        if self.layout is None:
            raise WeightStateError("nothing is staged; call begin_stage first")
        return pieces(self.layout.tensors)

    def _sides(self) -> Sequence[Tensor | None]:
        return self._devices if self._is_on_gpu else [self._host] * self._size

    def _make_device_sides(self, layout: WeightLayout) -> None:
        if [side.numel() for side in self._devices] != [layout.num_bytes] * self._size:
            self._devices = []
            self._devices = [
                torch.empty(layout.num_bytes, dtype=torch.uint8, device=torch.device("cuda", index))
                for index in range(self._size)
            ]


def pieces(tensors: Sequence[TensorSpec]) -> list[Piece]:
    """Describe what lies in a flat buffer."""
    return [(spec.name, spec.dtype, tuple(spec.shape), spec.offset, spec.offset + spec.num_bytes) for spec in tensors]


def sglangs(described: Sequence[Piece]) -> list[FlattenedTensorMetadata]:
    """SGLang's own description; its offsets are bytes."""
    return [
        FlattenedTensorMetadata(
            name=name,
            shape=torch.Size(shape),
            dtype=dtype_called(dtype),
            start_idx=start,
            end_idx=end,
            numel=end - start,
        )
        for name, dtype, shape, start, end in described
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
