"""Promises of writing a version in pieces."""

import numpy as np
import pytest

from tetrad_weights.digest import CHUNK_BYTES, DigestAlgorithm
from tetrad_weights.errors import ChunkOrderError, DigestMismatchError
from tetrad_weights.layout import Parameter, lay_out
from tetrad_weights.manifest import build, verify
from tetrad_weights.writing import VersionWriter

# Within a piece, over several, empty in the middle and at the end, and ragged, so that there are gaps.
LAYOUT = lay_out(
    [
        Parameter("small", "float32", (10,)),
        Parameter("large", "float32", (CHUNK_BYTES // 2,)),
        Parameter("empty", "float32", (0,)),
        Parameter("ragged", "uint8", (1003,)),
        Parameter("last", "float32", (0,)),
    ]
)


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, LAYOUT.num_bytes, dtype=np.uint8)


def spans(num_bytes: int) -> list[slice]:
    return [slice(at, min(at + num_bytes, LAYOUT.num_bytes)) for at in range(0, LAYOUT.num_bytes, num_bytes)]


@pytest.mark.parametrize("num_bytes", [64, 4096, CHUNK_BYTES + 4, LAYOUT.num_bytes])
@pytest.mark.parametrize("algorithm", DigestAlgorithm)
def test_pieces_of_any_size_become_the_version(source, algorithm, num_bytes):
    manifest = build(LAYOUT, source, algorithm=algorithm)
    buffer = np.zeros_like(source)
    writer = VersionWriter(manifest, buffer)

    for span in spans(num_bytes):
        writer.write(span.start, source[span])
    writer.finish()

    verify(manifest, buffer)


@pytest.mark.parametrize("tensor", [0, 1, 3])
def test_a_flipped_bit_is_named_by_its_tensor_no_later_than_the_tensor_s_end(source, tensor):
    flipped = source.copy()
    flipped[LAYOUT.tensors[tensor].offset + LAYOUT.tensors[tensor].num_bytes - 1] ^= 1
    writer = VersionWriter(build(LAYOUT, source), np.zeros_like(source))

    def write_all() -> None:
        for span in spans(4096):
            writer.write(span.start, flipped[span])

    with pytest.raises(DigestMismatchError) as caught:
        write_all()

    assert caught.value.tensor == LAYOUT.tensors[tensor].name


@pytest.mark.parametrize("offset", [0, 32, 128, LAYOUT.num_bytes - 64], ids=["repeated", "overlapping", "gap", "last"])
def test_bytes_that_are_not_the_next_are_refused_with_the_numbers(source, offset):
    writer = VersionWriter(build(LAYOUT, source), np.zeros_like(source))
    writer.write(0, source[:64])

    with pytest.raises(ChunkOrderError, match=rf"at {offset}; the next byte of {LAYOUT.num_bytes} is 64"):
        writer.write(offset, source[offset : offset + 64])


def test_more_bytes_than_there_are_to_come_are_refused(source):
    writer = VersionWriter(build(LAYOUT, source), np.zeros_like(source))

    with pytest.raises(ChunkOrderError):
        writer.write(0, np.zeros(LAYOUT.num_bytes + 1, dtype=np.uint8))


def test_a_version_whose_end_is_missing_is_not_finished(source):
    writer = VersionWriter(build(LAYOUT, source), np.zeros_like(source))
    writer.write(0, source[: LAYOUT.num_bytes - 64])

    with pytest.raises(ChunkOrderError):
        writer.finish()
