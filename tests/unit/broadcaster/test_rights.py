"""Promises of the rights to read."""

from dataclasses import replace

from tetrad_broadcaster.rights import Reader, ReadingRights, Right
from tetrad_weights.owners import Process
from tetrad_wire.ids import Incarnation, PolicyVersion
from tetrad_wire.messages.weights import WeightTransport


def a_right(name: str = "r0", *, version: int = 1, segment: str = "s0", deadline: float = 10.0, pid: int = 7) -> Right:
    return Right(
        reader=Reader(Incarnation(name), name, Process(pid, 1) if pid else None),
        version=PolicyVersion(version),
        digest="d",
        num_bytes=1,
        segment=segment,
        granted_at=0.0,
        deadline=deadline,
    )


def an_asker(name: str, *, silent_after: float) -> Right:
    return replace(a_right(name), transport=WeightTransport.SOCKET, silent_after=silent_after)


def rights_of(*granted: Right) -> ReadingRights:
    rights = ReadingRights()
    for right in granted:
        rights.grant(right)
    return rights


def test_a_right_stands_until_it_is_released():
    right = a_right()
    rights = rights_of(right)

    assert rights.segments() == {"s0"}
    assert rights.release(Incarnation("r0"), PolicyVersion(1)) == right
    assert rights.segments() == set()


def test_a_release_of_another_version_ends_nothing():
    rights = rights_of(a_right(version=2))

    assert rights.release(Incarnation("r0"), PolicyVersion(1)) is None
    assert len(rights) == 1


def test_a_release_by_a_stranger_or_a_second_one_ends_nothing():
    rights = rights_of(a_right())
    rights.release(Incarnation("r0"), PolicyVersion(1))

    assert rights.release(Incarnation("r0"), PolicyVersion(1)) is None
    assert rights.release(Incarnation("r9"), PolicyVersion(1)) is None


def test_a_new_right_replaces_the_old_one_of_the_same_reader():
    rights = rights_of(a_right(version=1, segment="s0"), a_right(version=2, segment="s1"))

    assert rights.segments() == {"s1"}


def test_only_rights_whose_deadline_has_come_expire():
    early, late = a_right("r0", deadline=5.0), a_right("r1", deadline=6.0)
    rights = rights_of(early, late)

    assert rights.expire(4.9) == []
    assert rights.expire(5.0) == [early]
    assert rights.readers() == ["r1"]


def test_rights_of_dead_processes_end_and_those_of_unknown_ones_stay():
    dead, unknown, alive = a_right("r0", pid=1), a_right("r1", pid=0), a_right("r2", pid=2)
    rights = rights_of(dead, unknown, alive)

    assert rights.end_dead(lambda process: process.pid == 2) == [dead]
    assert rights.readers() == ["r1", "r2"]


def test_a_holder_that_must_ask_and_is_silent_loses_its_right_before_the_deadline():
    rights = rights_of(*(an_asker(name, silent_after=3.0) for name in ("r0", "r1")))

    heard = rights.heard(Incarnation("r0"), PolicyVersion(1), now=2.0, silence_s=3.0)

    assert heard is not None
    assert [right.reader.replica for right in rights.expire(4.0)] == ["r1"]
    assert [right.reader.replica for right in rights.expire(5.0)] == ["r0"]


def test_being_heard_puts_off_no_deadline_and_revives_nothing():
    rights = rights_of(an_asker("r0", silent_after=9.5))
    rights.heard(Incarnation("r0"), PolicyVersion(1), now=9.0, silence_s=3.0)

    assert len(rights.expire(10.0)) == 1
    assert rights.heard(Incarnation("r0"), PolicyVersion(1), now=10.0, silence_s=3.0) is None


def test_who_reads_a_segment_is_not_expected_to_ask():
    rights = rights_of(a_right("r0", deadline=10.0))

    assert rights.heard(Incarnation("r0"), PolicyVersion(1), now=1.0, silence_s=3.0) is None
    assert rights.expire(9.0) == []
