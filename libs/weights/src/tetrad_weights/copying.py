"""Copies tensors and digests them in one pass, while each chunk is still in the cache.

Blocking: call it from a thread. Tensors are shared out over threads, largest first; numpy and xxhash let go of
the interpreter while they work, so a second thread nearly doubles the rate where a second core is free.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from tetrad_weights.digest import CHUNK_BYTES, Bytes, DigestAlgorithm, digest, new_hasher
from tetrad_weights.errors import CopyStoppedError, DigestMismatchError
from tetrad_wire.messages.weights import Manifest, TensorSpec

# Two threads come close to what the memory of one socket gives; more would only take cores from the engine.
MAX_THREADS: Final = 2

ShouldStop = Callable[[], bool]


def default_threads() -> int:
    """Threads that a copy uses unless told: the cores this process may run on, at most two."""
    return min(MAX_THREADS, len(os.sched_getaffinity(0)))


def never() -> bool:
    """Never stop."""
    return False


def copy_and_digest(
    source: Bytes,
    destination: Bytes,
    tensors: Sequence[TensorSpec],
    *,
    algorithm: DigestAlgorithm,
    num_threads: int | None = None,
    should_stop: ShouldStop = never,
) -> tuple[str, ...]:
    """Copy the tensors of one flat buffer into another of the same layout; return their digests, in order.

    What is digested is what arrived: the bytes of `destination`. `should_stop` is asked before each chunk;
    CopyStoppedError is raised when it says so, with the destination partly written.
    """

    def one(tensor: TensorSpec) -> str:
        hasher = new_hasher(algorithm)
        for start in range(tensor.offset, tensor.offset + tensor.num_bytes, CHUNK_BYTES):
            if should_stop():
                raise CopyStoppedError(f"stopped while copying {tensor.name}")
            chunk = slice(start, min(start + CHUNK_BYTES, tensor.offset + tensor.num_bytes))
            np.copyto(destination[chunk], source[chunk])
            hasher.update(destination[chunk])
        return hasher.hexdigest()

    return _share_out(one, tensors, num_threads)


def copy_verified(
    source: Bytes,
    destination: Bytes,
    manifest: Manifest,
    *,
    num_threads: int | None = None,
    should_stop: ShouldStop = never,
) -> None:
    """Copy a version and raise DigestMismatchError, naming the first tensor that is not as the manifest says."""
    actual = copy_and_digest(
        source,
        destination,
        manifest.tensors,
        algorithm=DigestAlgorithm(manifest.algorithm),
        num_threads=num_threads,
        should_stop=should_stop,
    )
    require_equal(manifest, actual)


def digest_tensors(
    buffer: Bytes, tensors: Sequence[TensorSpec], *, algorithm: DigestAlgorithm, num_threads: int | None = None
) -> tuple[str, ...]:
    """Return the digests of the tensors of a flat buffer, in order."""

    def one(tensor: TensorSpec) -> str:
        return digest(buffer[tensor.offset : tensor.offset + tensor.num_bytes], algorithm)

    return _share_out(one, tensors, num_threads)


def require_equal(manifest: Manifest, digests: Sequence[str]) -> None:
    """Raise DigestMismatchError for the first tensor whose digest is not the manifest's."""
    for tensor, actual in zip(manifest.tensors, digests, strict=True):
        if actual != tensor.digest:
            raise DigestMismatchError(tensor=tensor.name, expected=tensor.digest, actual=actual)


def _share_out(
    work: Callable[[TensorSpec], str], tensors: Sequence[TensorSpec], num_threads: int | None
) -> tuple[str, ...]:
    threads = default_threads() if num_threads is None else num_threads
    if threads == 1:
        return tuple(map(work, tensors))
    # Largest first: a long tensor begun last would leave the other threads idle.
    order = sorted(range(len(tensors)), key=lambda index: -tensors[index].num_bytes)
    with ThreadPoolExecutor(threads, thread_name_prefix="weights-copy") as pool:
        digests = dict(zip(order, pool.map(work, (tensors[index] for index in order)), strict=True))
    return tuple(digests[index] for index in range(len(tensors)))
