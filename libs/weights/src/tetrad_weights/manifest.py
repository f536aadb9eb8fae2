"""What one policy version is made of, in a form that can be checked.

`check` is for whatever came over a wire; `build` and `verify` read the bytes and block.
"""

from collections.abc import Sequence

import msgspec
import xxhash

from tetrad_weights.copying import digest_tensors, require_equal
from tetrad_weights.digest import Bytes, DigestAlgorithm
from tetrad_weights.errors import ManifestError
from tetrad_weights.layout import ALIGNMENT, Layout, size_of
from tetrad_wire.messages.weights import AdapterSpec, DeviceHandle, Manifest, SegmentHandle, TensorSpec


def build(
    layout: Layout,
    buffer: Bytes,
    *,
    algorithm: DigestAlgorithm = DigestAlgorithm.XXH3_128,
    adapter: AdapterSpec | None = None,
    num_threads: int | None = None,
) -> Manifest:
    """Digest every tensor of a filled buffer of uint8[layout.num_bytes] and describe it."""
    digests = digest_tensors(buffer, layout.tensors, algorithm=algorithm, num_threads=num_threads)
    return from_digests(layout, digests, algorithm=algorithm, adapter=adapter)


def from_digests(
    layout: Layout, digests: Sequence[str], *, algorithm: DigestAlgorithm, adapter: AdapterSpec | None = None
) -> Manifest:
    """Describe a version whose tensor digests are known, in the layout's order."""
    tensors = tuple(
        msgspec.structs.replace(tensor, digest=digest) for tensor, digest in zip(layout.tensors, digests, strict=True)
    )
    return Manifest(
        algorithm=algorithm.value,
        tensors=tensors,
        num_bytes=layout.num_bytes,
        digest=manifest_digest(algorithm.value, tensors, adapter),
        adapter=adapter,
    )


def manifest_digest(algorithm: str, tensors: Sequence[TensorSpec], adapter: AdapterSpec | None = None) -> str:
    """Return the xxh3_128 of one line for the algorithm and one for each tensor, in UTF-8.

    Where the tensors are adapters, a last line says of what: `adapter`, base, rank, alpha and the layers' names.

    A line holds name, dtype, extents joined by `x`, offset, size and digest, separated by tabs. The description
    lies in host memory whatever the tensors' algorithm is, so this one does not vary.
    """
    hasher = xxhash.xxh3_128(f"{algorithm}\n".encode())
    for tensor in tensors:
        shape = "x".join(map(str, tensor.shape))
        line = f"{tensor.name}\t{tensor.dtype}\t{shape}\t{tensor.offset}\t{tensor.num_bytes}\t{tensor.digest}\n"
        hasher.update(line.encode())
    if adapter is not None:
        layers = ",".join(adapter.target_modules)
        hasher.update(f"adapter\t{adapter.base}\t{adapter.rank}\t{adapter.alpha!r}\t{layers}\n".encode())
    digest: str = hasher.hexdigest()
    return digest


def check(manifest: Manifest) -> None:
    """Raise ManifestError unless the manifest is one that could be copied by: sizes, places, names, digest.

    Afterwards every tensor lies inside the buffer and none overlaps another.
    """
    if manifest.algorithm not in set(DigestAlgorithm):
        raise ManifestError(f"algorithm {manifest.algorithm[:32]!r} is none of {', '.join(DigestAlgorithm)}")
    end = 0
    for tensor in manifest.tensors:
        _check_place(tensor, end)
        end = tensor.offset + tensor.num_bytes
    if end != manifest.num_bytes:
        raise ManifestError(f"tensors end at {end}; the manifest says {manifest.num_bytes} bytes")
    if len({tensor.name for tensor in manifest.tensors}) != len(manifest.tensors):
        raise ManifestError("two tensors have one name")
    expected = manifest_digest(manifest.algorithm, manifest.tensors, manifest.adapter)
    if manifest.digest != expected:
        raise ManifestError(f"manifest says digest {manifest.digest[:64]}; its tensors give {expected}")


def check_offer(manifest: Manifest, segment: SegmentHandle | None) -> None:
    """Raise ManifestError unless the manifest can be copied by and the segment, if there is one, has just its size."""
    check(manifest)
    if segment is not None and segment.num_bytes != manifest.num_bytes:
        raise ManifestError(f"the segment has {segment.num_bytes} bytes; its manifest says {manifest.num_bytes}")


def check_device(manifest: Manifest, device: DeviceHandle) -> None:
    """Raise ManifestError unless memory on a GPU has just the manifest's size."""
    if device.num_bytes != manifest.num_bytes:
        raise ManifestError(f"GPU memory has {device.num_bytes} bytes; its manifest says {manifest.num_bytes}")


def verify(manifest: Manifest, buffer: Bytes, *, num_threads: int | None = None) -> None:
    """Raise DigestMismatchError, naming the tensor, unless `buffer` holds what the manifest says."""
    algorithm = DigestAlgorithm(manifest.algorithm)
    require_equal(manifest, digest_tensors(buffer, manifest.tensors, algorithm=algorithm, num_threads=num_threads))


def _check_place(tensor: TensorSpec, end: int) -> None:
    need = size_of(tensor.dtype, tensor.shape)
    if tensor.num_bytes != need:
        raise ManifestError(
            f"tensor {tensor.name}: {tensor.dtype}{list(tensor.shape)} has {need} bytes, not {tensor.num_bytes}"
        )
    if tensor.offset < end or tensor.offset % ALIGNMENT:
        raise ManifestError(f"tensor {tensor.name}: offset {tensor.offset} is not aligned and after {end}")
