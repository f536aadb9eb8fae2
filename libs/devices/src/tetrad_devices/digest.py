"""The digest `sum64` of many tensors in one launch on the GPU where they lie.

Equal to `tetrad_weights.digest.Sum64`: (Σw, Σ(i+1)·w) over the 32-bit words of each tensor modulo 2⁶⁴, a ragged
tail counted as if zeros followed. A chunk of one tensor is one program; it adds to the tensor's two sums.
"""

# T tensors · C chunks of them

import functools
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_WORD_BYTES: Final = 4
CHUNK_WORDS: Final = 1 << 14
_BLOCK_WORDS: Final = 1 << 11


def sum64(tensors: Sequence[Tensor]) -> list[str]:
    """Return 32 hexadecimal digits for the bytes of each tensor.

    All must be contiguous, on one device, and begin at a multiple of 4 bytes. Waits for the device.

    Raises:
        ValueError: one of them is not so.
    """
    return SumTable(tensors).digests() if tensors else []


class SumTable:
    """Where the words of some tensors lie; made once for memory that is digested again and again."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._device = _device_of(tensors)
        addresses_T = np.array([tensor.data_ptr() for tensor in tensors], np.int64)
        bytes_T = np.array([tensor.numel() * tensor.element_size() for tensor in tensors], np.int64)
        if (addresses_T % _WORD_BYTES).any():
            raise ValueError(f"a tensor begins at {int(addresses_T[(addresses_T % _WORD_BYTES) > 0][0])}; not a word")
        chunks_T = -(-bytes_T // (_WORD_BYTES * CHUNK_WORDS))
        owner_C = np.repeat(np.arange(len(tensors)), chunks_T)
        first_C = (np.arange(len(owner_C)) - np.repeat(np.cumsum(chunks_T) - chunks_T, chunks_T)) * CHUNK_WORDS
        self._num_tensors = len(tensors)
        self._table_4C = torch.from_numpy(
            np.stack([owner_C, first_C, addresses_T[owner_C], bytes_T[owner_C]]).astype(np.int64)
        ).to(self._device)

    def digests(self) -> list[str]:
        """Return the digest of each tensor's present bytes; waits for the device."""
        sums_T2 = torch.zeros((self._num_tensors, 2), dtype=torch.int64, device=self._device)
        num_chunks = self._table_4C.shape[1]
        if num_chunks:
            # Triton launches on the current device, whatever its arguments are on.
            with torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext():
                _kernel()[(num_chunks,)](self._table_4C, sums_T2, num_chunks, CHUNK=CHUNK_WORDS, BLOCK=_BLOCK_WORDS)
        return [f"{plain:016x}{weighted:016x}" for plain, weighted in _unsigned(sums_T2).tolist()]


def _unsigned(sums: Tensor) -> npt.NDArray[np.uint64]:
    values: npt.NDArray[np.uint64] = sums.cpu().numpy().view(np.uint64)
    return values


def _device_of(tensors: Sequence[Tensor]) -> torch.device:
    devices = {tensor.device for tensor in tensors}
    if len(devices) != 1 or not all(tensor.is_contiguous() for tensor in tensors):
        where = ", ".join(sorted(map(str, devices)))
        raise ValueError(f"tensors to digest must be contiguous and on one device; they are on {where}")
    return devices.pop()


@functools.cache
def _kernel() -> Any:
    """Compiled at first use: triton is there only where torch has a GPU."""
    import triton
    import triton.language as tl

    @triton.jit  # type: ignore[untyped-decorator]
    def add_chunk(table_ptr, sums_ptr, num_chunks, CHUNK: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
        chunk = tl.program_id(0)
        owner = tl.load(table_ptr + chunk)
        first = tl.load(table_ptr + num_chunks + chunk)
        words_ptr = tl.load(table_ptr + 2 * num_chunks + chunk).to(tl.pointer_type(tl.int32))
        num_bytes = tl.load(table_ptr + 3 * num_chunks + chunk)
        plain = tl.zeros((BLOCK,), dtype=tl.int64)
        weighted = tl.zeros((BLOCK,), dtype=tl.int64)
        for start in range(0, CHUNK, BLOCK):
            i = first + start + tl.arange(0, BLOCK)
            left = num_bytes - 4 * i
            word = tl.load(words_ptr + i, mask=left > 0, other=0).to(tl.int64) & 0xFFFFFFFF
            # The last word may be ragged: what lies beyond the tensor does not count.
            shift = tl.maximum(4 - left, 0) * 8
            word = tl.where(left < 4, word & (0xFFFFFFFF >> tl.minimum(shift, 32)), word)
            plain += word
            weighted += word * (i + 1)
        tl.atomic_add(sums_ptr + 2 * owner, tl.sum(plain, axis=0))
        tl.atomic_add(sums_ptr + 2 * owner + 1, tl.sum(weighted, axis=0))

    return add_chunk
