"""The bytes of each kind are what they were when the protocol version was released."""

from pathlib import Path

import msgpack
import numpy as np
import pytest

from tetrad_testing.golden import golden_message, join, split
from tetrad_wire import PROTOCOL_VERSION, decode, encode
from tetrad_wire.arrays import DTYPES
from tetrad_wire.catalog import ARRAY_FIELDS, CLASSES

GOLDEN = Path(__file__).parents[2] / "golden" / "wire"


def golden_frames(kind: str) -> list[bytes]:
    return split((GOLDEN / f"{kind}.bin").read_bytes())


def test_each_kind_has_a_file_and_each_file_a_kind():
    assert {path.stem for path in GOLDEN.glob("*.bin")} == set(CLASSES)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_message_becomes_its_golden_bytes(kind):
    assert join(encode(golden_message(kind))) == (GOLDEN / f"{kind}.bin").read_bytes()


@pytest.mark.parametrize("kind", CLASSES)
def test_golden_bytes_become_their_message(kind):
    message = decode(golden_frames(kind))

    expected = golden_message(kind)
    assert (message.id, message.reply_to, message.run, message.epoch) == (42, expected.reply_to, "run-1", 2)
    assert type(message.body) is CLASSES[kind]
    for name in message.body.__struct_fields__:
        np.testing.assert_array_equal(getattr(message.body, name), getattr(expected.body, name))


@pytest.mark.parametrize("kind", CLASSES)
def test_golden_bytes_are_plain_msgpack_and_little_endian_arrays(kind):
    header_bytes, *buffers = golden_frames(kind)

    header = msgpack.unpackb(header_bytes)

    expected = golden_message(kind).body
    assert (header["v"], header["kind"], header["id"], header["run"]) == (PROTOCOL_VERSION, kind, 42, "run-1")
    assert set(header["body"]) == set(expected.__struct_fields__)
    assert len(buffers) == len(header["buffers"]) == len(ARRAY_FIELDS[CLASSES[kind]])
    for name in ARRAY_FIELDS[CLASSES[kind]]:
        position = header["body"][name]
        spec = header["buffers"][position]
        array = np.frombuffer(buffers[position], DTYPES[spec["dtype"]]).reshape(spec["shape"])
        np.testing.assert_array_equal(array, getattr(expected, name))


def test_a_file_that_is_cut_short_is_refused():
    with pytest.raises(ValueError, match="frame of 3 bytes is cut to 2"):
        split(join([b"abc"])[:-1])
