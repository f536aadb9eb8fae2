"""`decode` gives a message or a RemoteProtocolError, whatever the bytes."""

import random
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrad_testing.fuzz import SORTS, damaged
from tetrad_testing.golden import golden_message
from tetrad_wire import RemoteProtocolError, decode, encode
from tetrad_wire.catalog import CLASSES
from tetrad_wire.errors import Violation

Frames = list[bytes]

HEADER_KEYS = st.sampled_from(["v", "kind", "id", "run", "epoch", "reply_to", "body", "buffers"])
ANY_LEAF = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary() | HEADER_KEYS
)
ANY_VALUE = st.recursive(
    ANY_LEAF,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text() | HEADER_KEYS, inner, max_size=8),
    max_leaves=12,
)


def outcome(frames: Frames) -> str:
    """The rule that was broken, or `legal`; anything else that is raised fails the test."""
    try:
        decode(frames)
    except RemoteProtocolError as error:
        return error.violation.value
    return "legal"


@given(st.lists(st.binary(max_size=64), max_size=4))
@settings(max_examples=500, deadline=None)
def test_random_bytes_are_refused(frames):
    assert outcome(frames) != "legal"


@given(ANY_VALUE)
@settings(max_examples=200, deadline=None)
def test_random_headers_are_refused(value):
    assert outcome([msgpack.packb(value)]) != "legal"


@given(st.sampled_from(list(CLASSES)), st.dictionaries(st.text(), ANY_VALUE, max_size=3), st.data())
@settings(max_examples=200, deadline=None)
def test_random_fields_are_taken_or_refused(kind, more, data):
    first, *buffers = encode(golden_message(kind))
    header = msgpack.unpackb(first)
    header["body"] |= more | {data.draw(st.sampled_from(sorted(header["body"]))): data.draw(ANY_VALUE)}

    assert outcome([msgpack.packb(header), *buffers]) in {"legal", "schema", "syntax"}


@pytest.mark.parametrize("seed", range(10))
def test_a_thousand_damaged_messages_are_taken_or_refused(seed):
    rng = random.Random(seed)

    outcomes = {outcome(damaged(rng)) for _ in range(1000)}

    assert {"syntax", "schema", "buffers"} <= outcomes <= {"legal", *Violation}


@pytest.mark.parametrize("sort", SORTS)
def test_garbage_of_each_sort_is_never_legal(sort):
    rng = random.Random(sort)

    assert "legal" not in {outcome(SORTS[sort](rng)) for _ in range(100)}


def test_each_field_of_each_kind_holds_against_each_odd_value():
    odd: list[Any] = [None, True, 0, -1, 2**63 - 1, -(2**63), float("nan"), float("inf")]
    odd += ["", "x" * 1000, b"", [], {}, [[]], {"": {}}, [None], [1.5], [2**62] * 3]

    for kind in CLASSES:
        first, *buffers = encode(golden_message(kind))
        header = msgpack.unpackb(first)
        for name in header["body"]:
            for value in odd:
                changed = header | {"body": header["body"] | {name: value}}
                assert outcome([msgpack.packb(changed), *buffers]) in {"legal", "schema"}, (kind, name, value)


@pytest.mark.parametrize("kind", CLASSES)
def test_what_is_damaged_here_was_legal_before(kind):
    assert outcome(encode(golden_message(kind))) == "legal"
