"""Promises of the owner's side of a segment."""

import os

import numpy as np
import pytest

from tetrad_weights.attachments import attach
from tetrad_weights.errors import SegmentAllocationError, TransportUnusableError
from tetrad_weights.header import HEADER_BYTES
from tetrad_weights.segments import DIRECTORY, NAME, Segment, segment_name


@pytest.fixture
def segment(run):
    made = Segment(segment_name(run=run, incarnation="own", ordinal=0), 1000)
    yield made
    made.close()


def test_its_memory_is_reserved_in_full_at_once(segment):
    status = (DIRECTORY / segment.name).stat()

    assert status.st_size == HEADER_BYTES + 1000
    assert status.st_blocks * 512 >= status.st_size


def test_only_its_owner_may_read_the_file(segment):
    assert (DIRECTORY / segment.name).stat().st_mode & 0o777 == 0o600


def test_a_reader_sees_what_was_written(segment):
    segment.payload[:] = np.arange(1000) % 256
    segment.end_writing()

    with attach(segment.handle) as attachment:
        np.testing.assert_array_equal(attachment.payload, np.arange(1000) % 256)


def test_it_is_not_written_while_somebody_reads(segment):
    segment.end_writing()
    attachment = attach(segment.handle)

    assert segment.is_being_read()
    assert not segment.begin_writing()

    attachment.close()
    assert not segment.is_being_read()
    assert segment.begin_writing()


def test_nobody_reads_while_it_is_written(segment):
    with pytest.raises(TransportUnusableError, match="its owner is writing it"):
        attach(segment.handle)


def test_a_handle_of_an_older_writing_is_void(segment):
    segment.end_writing()
    old = segment.handle
    segment.begin_writing()
    segment.end_writing()

    with pytest.raises(TransportUnusableError, match="written anew since it was promised"):
        attach(old)
    attach(segment.handle).close()


def test_a_reader_keeps_its_bytes_when_the_owner_removes_the_segment(segment):
    segment.payload[:] = 7
    segment.end_writing()

    with attach(segment.handle) as attachment:
        segment.close()

        assert not (DIRECTORY / segment.name).exists()
        assert attachment.payload.sum() == 7000


def test_closing_twice_is_harmless(segment):
    segment.close()
    segment.close()


def test_a_segment_that_does_not_fit_says_what_is_free_and_leaves_nothing(run):
    name = segment_name(run=run, incarnation="own", ordinal=1)

    with pytest.raises(SegmentAllocationError, match=r"needs \d+ bytes in /dev/shm, which has \d+ free"):
        Segment(name, 1 << 50)
    assert not (DIRECTORY / name).exists()


def test_a_name_is_taken_only_once(run, segment):
    with pytest.raises(FileExistsError):
        Segment(segment.name, 1)


def test_no_descriptor_is_left_behind(run):
    before = len(os.listdir("/proc/self/fd"))

    made = Segment(segment_name(run=run, incarnation="own", ordinal=2), 10)
    made.end_writing()
    attach(made.handle).close()
    made.close()

    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("run_name", ["demo", "../../etc/passwd", "a b.c", "", "x" * 500, "läuft"])
def test_a_name_is_a_legal_file_name_whatever_the_run_is_called(run_name):
    assert NAME.fullmatch(segment_name(run=run_name, incarnation="ab12", ordinal=3))
