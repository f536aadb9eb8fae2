"""Promises of the copy."""

import threading

import numpy as np
import pytest

from tetrad_weights.copying import copy_and_digest, copy_verified, default_threads
from tetrad_weights.digest import CHUNK_BYTES, DigestAlgorithm
from tetrad_weights.errors import CopyStoppedError, DigestMismatchError
from tetrad_weights.layout import Parameter, lay_out
from tetrad_weights.manifest import build

# Larger than a chunk, smaller, empty, and a ragged one.
LAYOUT = lay_out(
    [
        Parameter("small", "float32", (10,)),
        Parameter("large", "float32", (CHUNK_BYTES // 2,)),
        Parameter("empty", "float32", (0,)),
        Parameter("ragged", "uint8", (CHUNK_BYTES + 3,)),
    ]
)


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, LAYOUT.num_bytes, dtype=np.uint8)


@pytest.mark.parametrize("num_threads", [None, 1, 2, 3])
@pytest.mark.parametrize("algorithm", DigestAlgorithm)
def test_every_tensor_arrives_whole_with_the_manifest_s_digest(source, algorithm, num_threads):
    manifest = build(LAYOUT, source, algorithm=algorithm)
    destination = np.zeros_like(source)

    digests = copy_and_digest(source, destination, LAYOUT.tensors, algorithm=algorithm, num_threads=num_threads)

    assert list(digests) == [tensor.digest for tensor in manifest.tensors]
    for tensor in LAYOUT.tensors:
        place = slice(tensor.offset, tensor.offset + tensor.num_bytes)
        np.testing.assert_array_equal(destination[place], source[place])


def test_a_poisoned_byte_is_named_by_its_tensor(source):
    manifest = build(LAYOUT, source)
    poisoned = source.copy()
    poisoned[LAYOUT.tensors[3].offset + CHUNK_BYTES] ^= 1

    with pytest.raises(DigestMismatchError) as caught:
        copy_verified(poisoned, np.zeros_like(source), manifest)
    assert caught.value.tensor == "ragged"


@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_copy_stops_when_it_is_asked_to(source, num_threads):
    stop = threading.Event()
    stop.set()

    with pytest.raises(CopyStoppedError):
        copy_verified(
            source,
            np.zeros_like(source),
            build(LAYOUT, source),
            num_threads=num_threads,
            should_stop=stop.is_set,
        )


def test_a_copy_takes_no_more_threads_than_there_are_cores():
    assert 1 <= default_threads() <= 2
