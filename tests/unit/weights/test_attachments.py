"""Promises of the reader's side of a segment."""

import os

import msgspec
import pytest

from tetrad_weights.attachments import MAX_MAPS, Maps, attach
from tetrad_weights.errors import TransportUnusableError
from tetrad_weights.segments import DIRECTORY, Segment, segment_name
from tetrad_wire.messages.weights import SegmentHandle


@pytest.fixture
def make(run):
    made: list[Segment] = []

    def make(num_bytes: int = 100, fill: int = 0) -> Segment:
        segment = Segment(segment_name(run=run, incarnation="own", ordinal=len(made)), num_bytes)
        made.append(segment)
        segment.payload[:] = fill
        segment.end_writing()
        return segment

    yield make
    for segment in made:
        segment.close()


@pytest.fixture
def maps():
    kept = Maps()
    yield kept
    kept.close()


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "passwd", "tetrad.a.b.0/../x", "tetrad.a.b", "", "tetrad.a.b.0\n"]
)
def test_what_is_no_name_of_a_segment_is_never_opened(name):
    with pytest.raises(TransportUnusableError, match="no name of a segment"):
        attach(SegmentHandle(name=name, num_bytes=1, nonce=""))


def test_a_segment_that_is_not_there_is_unusable():
    with pytest.raises(TransportUnusableError, match="No such file"):
        attach(SegmentHandle(name="tetrad.none.none.0", num_bytes=1, nonce=""))


def test_a_segment_of_another_size_is_unusable(make):
    handle = msgspec.structs.replace(make(100).handle, num_bytes=101)

    with pytest.raises(TransportUnusableError, match="it has 4196 bytes; 4197 were promised"):
        attach(handle)


def test_a_segment_with_another_nonce_is_unusable(make):
    handle = msgspec.structs.replace(make().handle, nonce="00" * 16)

    with pytest.raises(TransportUnusableError, match="written anew"):
        attach(handle)


def test_a_file_that_is_no_segment_is_unusable(run):
    path = DIRECTORY / segment_name(run=run, incarnation="own", ordinal=9)
    path.write_bytes(bytes(4097))
    try:
        with pytest.raises(TransportUnusableError, match="does not begin like a segment"):
            attach(SegmentHandle(name=path.name, num_bytes=1, nonce=""))
    finally:
        path.unlink()


def test_a_symbolic_link_is_not_followed(run, make):
    path = DIRECTORY / segment_name(run=run, incarnation="own", ordinal=9)
    path.symlink_to(DIRECTORY / make().name)
    try:
        with pytest.raises(TransportUnusableError):
            attach(SegmentHandle(name=path.name, num_bytes=100, nonce=""))
    finally:
        path.unlink()


def test_a_refused_attachment_locks_nobody_out(make, maps):
    segment = make()
    with pytest.raises(TransportUnusableError):
        maps.attach(msgspec.structs.replace(segment.handle, nonce="00" * 16))

    assert segment.begin_writing()


def test_the_bytes_cannot_be_written(make, maps):
    with maps.attach(make().handle) as attachment:
        assert not attachment.payload.flags.writeable


def test_a_map_outlives_its_reading_but_the_lock_does_not(make, maps):
    segment = make(fill=1)
    with maps.attach(segment.handle) as attachment:
        assert attachment.payload.sum() == 100

    assert len(maps) == 1
    assert segment.begin_writing()
    segment.payload[:] = 2
    segment.end_writing()
    with maps.attach(segment.handle) as attachment:
        assert attachment.payload.sum() == 200
    assert len(maps) == 1


def test_a_reading_that_is_over_gives_no_bytes(make, maps):
    attachment = maps.attach(make().handle)
    attachment.close()

    with pytest.raises(ValueError, match="this reading is over"):
        _ = attachment.payload


def test_maps_of_removed_segments_are_dropped(make, maps):
    first, second = make(), make()
    maps.attach(first.handle).close()
    first.close()

    maps.attach(second.handle).close()

    assert len(maps) == 1


def test_a_new_segment_under_an_old_name_is_the_one_that_is_read(run, maps):
    name = segment_name(run=run, incarnation="own", ordinal=5)
    for fill in (3, 4):
        segment = Segment(name, 10)
        segment.payload[:] = fill
        segment.end_writing()

        with maps.attach(segment.handle) as attachment:
            assert attachment.payload.sum() == 10 * fill
        segment.close()


def test_maps_are_bounded(make, maps):
    for _ in range(MAX_MAPS + 2):
        maps.attach(make().handle).close()

    assert len(maps) == MAX_MAPS


def test_no_descriptor_is_left_behind(make):
    segment = make()
    before = len(os.listdir("/proc/self/fd"))

    maps = Maps()
    maps.attach(segment.handle).close()
    maps.close()

    assert len(os.listdir("/proc/self/fd")) == before
