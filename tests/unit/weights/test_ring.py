"""Promises of the exporter's ring."""

import pytest

from tetrad_weights.attachments import attach
from tetrad_weights.errors import SegmentsBusyError, TransportUnusableError
from tetrad_weights.ring import SegmentRing


@pytest.fixture
def ring(run):
    made = SegmentRing(run=run, incarnation="own", depth=2, limit=3)
    yield made
    made.close()


def write(ring: SegmentRing, *, pinned=(), num_bytes: int = 10):
    segment = ring.take(num_bytes, pinned=pinned)
    segment.end_writing()
    return segment


def test_two_segments_take_turns(ring):
    first = write(ring)
    second = write(ring, pinned={first.name})
    third = write(ring, pinned={second.name})

    assert third is first
    assert len(ring) == 2


def test_a_segment_that_is_being_read_is_not_written_a_fresh_one_is_made(ring):
    first = write(ring)
    with attach(first.handle):
        second = write(ring)

        assert second is not first
        assert len(ring) == 2


def test_at_the_bound_the_busy_segments_are_named(ring):
    segments = []
    for _ in range(3):
        segments.append(write(ring, pinned={segment.name for segment in segments}))

    with pytest.raises(SegmentsBusyError, match="all 3 segments are in use") as caught:
        ring.take(10, pinned={segment.name for segment in segments})
    assert set(caught.value.busy) == {segment.name for segment in segments}


def test_what_is_beyond_the_depth_goes_once_nobody_reads_it(ring):
    segments = []
    for _ in range(3):
        segments.append(write(ring, pinned={segment.name for segment in segments}))
    attachment = attach(segments[0].handle)

    ring.trim(pinned={segment.name for segment in segments[1:]})
    assert len(ring) == 3

    attachment.close()
    ring.trim(pinned={segment.name for segment in segments[1:]})
    assert len(ring) == 2


def test_a_segment_of_another_size_makes_room(ring):
    first = write(ring, num_bytes=10)
    second = write(ring, num_bytes=20)

    assert second.num_bytes == 20
    assert len(ring) == 1
    assert ring.num_bytes == 20
    assert first.name != second.name


def test_a_segment_whose_writer_gave_up_is_used_again(ring):
    abandoned = ring.take(10, pinned=())

    assert ring.take(10, pinned=()) is abandoned


@pytest.mark.parametrize(("depth", "limit"), [(1, 4), (3, 2)])
def test_a_ring_needs_two_segments_and_a_limit_above(depth, limit):
    with pytest.raises(ValueError, match="a ring needs"):
        SegmentRing(run="r", incarnation="i", depth=depth, limit=limit)


def test_what_was_lent_is_never_written_until_the_last_view_of_it_is_gone(ring):
    segment = write(ring)
    view = ring.lend(segment.handle)[2:5]

    assert not segment.begin_writing()
    del view
    assert segment.begin_writing()


def test_what_was_lent_is_read_only_and_outlives_the_ring(ring):
    segment = ring.take(10, pinned=())
    segment.payload[:] = range(10)
    segment.end_writing()
    lent = ring.lend(segment.handle)

    ring.close()

    assert lent.tolist() == list(range(10))
    with pytest.raises(TransportUnusableError, match="closed"):
        segment.lend()
    assert memoryview(lent).readonly


def test_nothing_is_lent_under_a_void_handle_or_while_it_is_being_written(ring):
    segment = write(ring)
    former = segment.handle
    assert segment.begin_writing()

    with pytest.raises(TransportUnusableError, match="being written"):
        ring.lend(segment.handle)
    segment.end_writing()
    with pytest.raises(TransportUnusableError, match="written anew"):
        ring.lend(former)
    assert ring.lend(segment.handle) is not None
