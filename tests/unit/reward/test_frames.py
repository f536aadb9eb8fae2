import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrad_reward.frames import LENGTH, MAX_FRAME_BYTES, FrameError, FrameReader, frame_of
from tetrad_wire import RemoteProtocolError

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.lists(plain, max_size=5), st.integers(1, 7))
def test_values_survive_any_cut_of_the_stream(values, size):
    stream = b"".join(map(frame_of, values))
    reader = FrameReader()

    received = [value for start in range(0, len(stream), size) for value in reader.feed(stream[start : start + size])]

    assert received == values


@pytest.mark.parametrize("value", [object(), 2**70, {"x": "a" * (MAX_FRAME_BYTES + 1)}, "\ud800"])
def test_what_cannot_travel_is_refused_before_it_is_sent(value):
    with pytest.raises(FrameError):
        frame_of(value)


def test_a_forged_length_is_refused_before_it_is_stored():
    with pytest.raises(FrameError, match="limit"):
        list(FrameReader().feed(LENGTH.pack(MAX_FRAME_BYTES + 1)))


def test_garbage_is_refused():
    with pytest.raises(RemoteProtocolError):
        list(FrameReader().feed(LENGTH.pack(4) + b"\xc1\xc1\xc1\xc1"))
