"""Promises of the digests; the slow twin of sum64 is its definition."""

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tetrad_weights.digest import DigestAlgorithm, Sum64, digest, new_hasher

MODULUS = 1 << 64


def sum64_by_definition(data: bytes) -> str:
    padded = data + bytes(-len(data) % 4)
    words = [int.from_bytes(padded[at : at + 4], "little") for at in range(0, len(padded), 4)]
    weighted = sum((index + 1) * word for index, word in enumerate(words))
    return f"{sum(words) % MODULUS:016x}{weighted % MODULUS:016x}"


def as_array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype=np.uint8)


@given(st.binary(max_size=200))
def test_sum64_is_what_its_definition_says(data):
    assert digest(as_array(data), DigestAlgorithm.SUM64) == sum64_by_definition(data)


@pytest.mark.parametrize("num_bytes", [4 * 65_536 - 4, 4 * 65_536, 4 * 65_536 + 3, (1 << 20) + 5, 3_000_001])
def test_sum64_agrees_with_its_definition_across_blocks_and_chunks(num_bytes):
    data = np.random.default_rng(num_bytes).bytes(num_bytes)

    assert digest(as_array(data), DigestAlgorithm.SUM64) == sum64_by_definition(data)


def test_sum64_of_the_largest_words_wraps_around():
    data = b"\xff" * (1 << 20)

    assert digest(as_array(data), DigestAlgorithm.SUM64) == sum64_by_definition(data)


def test_sum64_does_not_depend_on_how_the_bytes_are_fed():
    data = np.random.default_rng(1).integers(0, 256, 1_000_002, dtype=np.uint8)
    hasher = Sum64()
    for start in range(0, len(data), 40_000):
        hasher.update(data[start : start + 40_000])

    assert hasher.hexdigest() == digest(data, DigestAlgorithm.SUM64)


def test_sum64_refuses_bytes_after_a_ragged_chunk():
    hasher = Sum64()
    hasher.update(np.zeros(3, dtype=np.uint8))

    with pytest.raises(ValueError, match="only the last chunk"):
        hasher.update(np.zeros(4, dtype=np.uint8))


def test_sum64_sees_that_two_words_have_changed_places():
    words = np.array([1, 2, 3], dtype="<u4")
    swapped = np.array([2, 1, 3], dtype="<u4")

    assert digest(words.view(np.uint8), DigestAlgorithm.SUM64) != digest(swapped.view(np.uint8), DigestAlgorithm.SUM64)


def test_xxh3_is_that_of_the_library_however_large_the_data():
    data = np.random.default_rng(2).integers(0, 256, 2_500_000, dtype=np.uint8)

    assert digest(data, DigestAlgorithm.XXH3_128) == xxhash.xxh3_128_hexdigest(data.tobytes())


@pytest.mark.parametrize("algorithm", DigestAlgorithm)
def test_a_digest_has_32_hexadecimal_digits_even_of_nothing(algorithm):
    found = new_hasher(algorithm).hexdigest()

    assert len(found) == 32
    assert int(found, 16) >= 0


@pytest.mark.parametrize("algorithm", DigestAlgorithm)
@given(data=st.binary(min_size=1, max_size=64), place=st.integers(0, 63), bit=st.integers(0, 7))
def test_one_flipped_bit_changes_the_digest(algorithm, data, place, bit):
    other = bytearray(data)
    other[place % len(data)] ^= 1 << bit

    assert digest(as_array(data), algorithm) != digest(as_array(bytes(other)), algorithm)
