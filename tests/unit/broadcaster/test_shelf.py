"""Promises of the shelf of versions."""

import pytest

from tetrad_broadcaster.shelf import Held, Shelf, VersionConflictError
from tetrad_wire.ids import PolicyVersion
from tetrad_wire.messages.weights import Manifest, SegmentHandle


def a_version(version: int, *, digest: str | None = None) -> Held:
    return Held(
        version=PolicyVersion(version),
        step=version,
        manifest=Manifest(algorithm="xxh3_128", tensors=(), num_bytes=0, digest=digest or f"d{version}"),
        segment=SegmentHandle(name=f"s{version}", num_bytes=0, nonce=""),
    )


def a_shelf(*versions: int) -> Shelf:
    shelf = Shelf()
    for version in versions:
        shelf.put(a_version(version))
    return shelf


def test_the_newest_and_the_one_before_it_are_held():
    shelf = a_shelf(1, 2, 5)

    assert shelf.holds == (2, 5)
    assert shelf.newest is not None
    assert shelf.newest.version == 5


def test_the_same_version_again_is_found_not_taken_twice():
    assert a_shelf(3).find(PolicyVersion(3), "d3") is not None


def test_a_version_never_repeats_with_other_bytes():
    with pytest.raises(VersionConflictError, match="version 3 is held with digest d3"):
        a_shelf(3).find(PolicyVersion(3), "other")


def test_a_version_never_decreases():
    with pytest.raises(VersionConflictError, match="version 2 was offered after version 3"):
        a_shelf(3).find(PolicyVersion(2), "d2")


def test_an_empty_shelf_takes_any_version():
    assert Shelf().find(PolicyVersion(41), "d") is None


def test_making_way_keeps_the_newest_and_what_is_pinned():
    shelf = a_shelf(1, 2)
    shelf.make_way(pinned=())
    assert shelf.holds == (2,)

    shelf = a_shelf(1, 2)
    shelf.make_way(pinned={"s1"})
    assert shelf.holds == (1, 2)
