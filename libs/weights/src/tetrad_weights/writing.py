"""Writes a version that arrives in pieces, and digests it on the way, as `copying` does for one that is here in full.

Pieces follow one another without gap or overlap, whatever the tensors' borders are. Blocking: call it from a thread.
"""

from collections import deque

import numpy as np

from tetrad_weights.digest import CHUNK_BYTES, Bytes, DigestAlgorithm, Hasher, new_hasher
from tetrad_weights.errors import ChunkOrderError, DigestMismatchError
from tetrad_wire.messages.weights import Manifest, TensorSpec


class VersionWriter:
    """Fills uint8[manifest.num_bytes] of a manifest that was checked. What lies between two tensors is not written."""

    def __init__(self, manifest: Manifest, buffer: Bytes) -> None:
        self._manifest = manifest
        self._buffer = buffer
        self._algorithm = DigestAlgorithm(manifest.algorithm)
        self._position = 0
        self._tensors = deque(manifest.tensors)
        self._hasher: Hasher = new_hasher(self._algorithm)

    def write(self, offset: int, data: Bytes) -> None:
        """Write the next bytes; raise DigestMismatchError as soon as a tensor is complete and not what it should be.

        Raises ChunkOrderError for any but the next bytes, and for more than there are to come.
        """
        end = offset + len(data)
        if offset != self._position or end > self._manifest.num_bytes:
            raise ChunkOrderError(offset=offset, expected=self._position, num_bytes=self._manifest.num_bytes)
        while self._tensors and self._tensors[0].offset < end:
            tensor = self._tensors[0]
            tensor_end = tensor.offset + tensor.num_bytes
            for start, stop in _pieces(max(offset, tensor.offset), min(end, tensor_end)):
                np.copyto(self._buffer[start:stop], data[start - offset : stop - offset])
                self._hasher.update(self._buffer[start:stop])
            if tensor_end > end:
                break
            self._complete(self._tensors.popleft())
        self._position = end

    def finish(self) -> None:
        """Raise ChunkOrderError unless every byte was written; every tensor is then what the manifest says."""
        if self._position != self._manifest.num_bytes:
            raise ChunkOrderError(offset=self._position, expected=self._position, num_bytes=self._manifest.num_bytes)
        # Empty ones at the very end begin where no piece does.
        while self._tensors:
            self._complete(self._tensors.popleft())

    def _complete(self, tensor: TensorSpec) -> None:
        actual = self._hasher.hexdigest()
        if actual != tensor.digest:
            raise DigestMismatchError(tensor=tensor.name, expected=tensor.digest, actual=actual)
        self._hasher = new_hasher(self._algorithm)


def _pieces(start: int, stop: int) -> list[tuple[int, int]]:
    return [(at, min(at + CHUNK_BYTES, stop)) for at in range(start, stop, CHUNK_BYTES)]
