"""Promises of the manifest."""

import msgspec
import numpy as np
import pytest

from tetrad_weights.digest import DigestAlgorithm
from tetrad_weights.errors import DigestMismatchError, ManifestError
from tetrad_weights.layout import Parameter, lay_out
from tetrad_weights.manifest import build, check, check_offer, manifest_digest, verify
from tetrad_wire.messages.weights import Manifest, SegmentHandle

LAYOUT = lay_out([Parameter("a", "float32", (3, 5)), Parameter("b", "bfloat16", (7,)), Parameter("c", "uint8", ())])


def a_buffer(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, LAYOUT.num_bytes, dtype=np.uint8)


def changed(manifest: Manifest, index: int, **fields: object) -> Manifest:
    """The manifest with one tensor changed and its own digest made to fit."""
    tensors = list(manifest.tensors)
    tensors[index] = msgspec.structs.replace(tensors[index], **fields)
    digest = manifest_digest(manifest.algorithm, tensors)
    return msgspec.structs.replace(manifest, tensors=tuple(tensors), digest=digest)


@pytest.mark.parametrize("algorithm", DigestAlgorithm)
def test_what_was_built_is_legal_and_verifies(algorithm):
    buffer = a_buffer()

    manifest = build(LAYOUT, buffer, algorithm=algorithm)

    check(manifest)
    verify(manifest, buffer)


@pytest.mark.parametrize("algorithm", DigestAlgorithm)
def test_a_changed_byte_is_found_and_its_tensor_named(algorithm):
    buffer = a_buffer()
    manifest = build(LAYOUT, buffer, algorithm=algorithm)
    buffer[manifest.tensors[1].offset + 13] ^= 1

    with pytest.raises(DigestMismatchError, match="tensor b has digest") as caught:
        verify(manifest, buffer)
    assert caught.value.tensor == "b"


def test_bytes_between_tensors_do_not_matter():
    buffer = a_buffer()
    manifest = build(LAYOUT, buffer)
    buffer[61] ^= 255

    verify(manifest, buffer)


def test_equal_bytes_give_equal_digests_and_others_do_not():
    assert build(LAYOUT, a_buffer()).digest == build(LAYOUT, a_buffer()).digest
    assert build(LAYOUT, a_buffer()).digest != build(LAYOUT, a_buffer(1)).digest


@pytest.mark.parametrize(
    "fields",
    [{"name": "z"}, {"dtype": "int32"}, {"shape": (5, 3)}, {"digest": "0" * 32}],
    ids=lambda fields: next(iter(fields)),
)
def test_the_digest_covers_every_field_of_a_tensor(fields):
    manifest = build(LAYOUT, a_buffer())
    tensors = (msgspec.structs.replace(manifest.tensors[0], **fields), *manifest.tensors[1:])

    with pytest.raises(ManifestError, match="manifest says digest"):
        check(msgspec.structs.replace(manifest, tensors=tensors))


@pytest.mark.parametrize(
    ("index", "fields", "complaint"),
    [
        (0, {"num_bytes": 59}, "has 60 bytes, not 59"),
        (0, {"shape": (1 << 62, 4)}, "has .* bytes, not 60"),
        (0, {"dtype": "float31"}, "float31"),
        (1, {"offset": 0}, "not aligned and after 60"),
        (1, {"offset": 65}, "offset 65"),
        (1, {"offset": -64}, "offset -64"),
        (2, {"offset": 1 << 40}, "tensors end at"),
        (2, {"name": "a"}, "two tensors have one name"),
    ],
)
def test_a_manifest_that_could_not_be_copied_by_is_refused(index, fields, complaint):
    manifest = changed(build(LAYOUT, a_buffer()), index, **fields)

    with pytest.raises(ManifestError, match=complaint):
        check(manifest)


def test_an_unknown_algorithm_is_refused_with_the_known_ones():
    manifest = msgspec.structs.replace(build(LAYOUT, a_buffer()), algorithm="md5")

    with pytest.raises(ManifestError, match="'md5' is none of xxh3_128, sum64"):
        check(manifest)


def test_a_segment_of_another_size_is_refused():
    manifest = build(LAYOUT, a_buffer())
    segment = SegmentHandle(name="tetrad.r.i.0", num_bytes=manifest.num_bytes - 1, nonce="")

    with pytest.raises(ManifestError, match=f"the segment has {manifest.num_bytes - 1} bytes"):
        check_offer(manifest, segment)
