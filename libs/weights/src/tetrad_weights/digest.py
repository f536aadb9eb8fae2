"""Digests that find faults in transit: fast, not cryptographic. Authenticity is the transport's business.

Every algorithm is a hasher that is fed chunk by chunk, so that each chunk is still in the cache of whoever
copied it. Must not know of tensors; `manifest` and `copying` do.
"""

from enum import StrEnum
from typing import Final, Protocol, assert_never

import numpy as np
import numpy.typing as npt
import xxhash

Bytes = npt.NDArray[np.uint8]
"""One-dimensional, contiguous uint8."""

# What was just copied must still be in the cache when it is digested: 4 MiB was a tenth slower, 256 KiB too.
CHUNK_BYTES: Final = 1 << 20
_WORD_BYTES: Final = 4
_SIDE: Final = 256
_BLOCK_WORDS: Final = _SIDE * _SIDE
_MASK: Final = (1 << 64) - 1


class DigestAlgorithm(StrEnum):
    """What a manifest may name."""

    XXH3_128 = "xxh3_128"
    """XXH3 with 128 bits, in hex; for bytes in host memory."""
    SUM64 = "sum64"
    """Σw and Σ(i+1)·w over 32-bit little-endian words modulo 2⁶⁴, in hex; equal from numpy and torch anywhere."""


class Hasher(Protocol):
    """Takes bytes in order and says their digest."""

    def update(self, data: Bytes) -> None:
        """Append bytes."""
        ...

    def hexdigest(self) -> str:
        """Return the digest of everything appended so far."""
        ...


def new_hasher(algorithm: DigestAlgorithm) -> Hasher:
    """Return an empty hasher."""
    match algorithm:
        case DigestAlgorithm.XXH3_128:
            return Xxh3()
        case DigestAlgorithm.SUM64:
            return Sum64()
        case _:
            assert_never(algorithm)


def digest(data: Bytes, algorithm: DigestAlgorithm) -> str:
    """Return the digest of `data` in 32 hexadecimal digits.

    >>> digest(np.arange(5, dtype=np.uint8), DigestAlgorithm.SUM64)
    '00000000030201040000000003020108'
    """
    hasher = new_hasher(algorithm)
    for start in range(0, len(data), CHUNK_BYTES):
        hasher.update(data[start : start + CHUNK_BYTES])
    return hasher.hexdigest()


class Xxh3:
    """XXH3 with 128 bits."""

    def __init__(self) -> None:
        self._state = xxhash.xxh3_128()

    def update(self, data: Bytes) -> None:
        """Append bytes."""
        self._state.update(data.data)

    def hexdigest(self) -> str:
        """Return 32 hexadecimal digits."""
        return self._state.hexdigest()


class Sum64:
    """The pair (Σw, Σ(i+1)·w) over 32-bit words; a ragged tail counts as if zeros followed.

    A block of words is summed as a square, i = 256·row + column, so that no product is ever as long as the data:
    Σ(i+1)·w = Σ 256·row·rowsum + Σ (column+1)·columnsum. This second sum makes the digest depend on order.
    """

    def __init__(self) -> None:
        self._plain = 0
        self._weighted = 0
        self._num_words = 0
        self._is_ragged = False
        self._block = np.empty((_SIDE, _SIDE), dtype=np.uint64)

    def update(self, data: Bytes) -> None:
        """Append bytes; raises ValueError after a chunk that was no whole number of words."""
        if self._is_ragged and len(data):
            raise ValueError(f"only the last chunk may be other than a multiple of {_WORD_BYTES} bytes")
        for start in range(0, len(data), _BLOCK_WORDS * _WORD_BYTES):
            self._add(_words(data[start : start + _BLOCK_WORDS * _WORD_BYTES]))
        self._is_ragged = self._is_ragged or len(data) % _WORD_BYTES != 0

    def hexdigest(self) -> str:
        """Return both sums, 16 digits each."""
        return f"{self._plain:016x}{self._weighted:016x}"

    def _add(self, words: npt.NDArray[np.uint32]) -> None:
        flat = self._block.reshape(-1)
        flat[: len(words)] = words
        flat[len(words) :] = 0
        rows = np.add.reduce(self._block, axis=1)
        columns = np.add.reduce(self._block, axis=0)
        plain = int(rows.sum())
        inside = int((rows * _ROW_WEIGHTS).sum()) + int((columns * _COLUMN_WEIGHTS).sum())
        self._plain = (self._plain + plain) & _MASK
        self._weighted = (self._weighted + self._num_words * plain + inside) & _MASK
        self._num_words += len(words)


_COLUMN_WEIGHTS: Final = np.arange(1, _SIDE + 1, dtype=np.uint64)
_ROW_WEIGHTS: Final = np.arange(0, _BLOCK_WORDS, _SIDE, dtype=np.uint64)


def _words(data: Bytes) -> npt.NDArray[np.uint32]:
    if len(data) % _WORD_BYTES:
        data = np.concatenate([data, np.zeros(-len(data) % _WORD_BYTES, dtype=np.uint8)])
    return data.view("<u4")
