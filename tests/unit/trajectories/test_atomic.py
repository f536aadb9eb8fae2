"""Files that are whole or absent."""

import pytest

from tetrad_trajectories.atomic import sweep, written_atomically


def test_a_file_appears_when_the_block_ends_well(tmp_path):
    with written_atomically(tmp_path / "file") as temporary:
        temporary.write_text("whole")
        assert not (tmp_path / "file").exists()

    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "whole"


def test_a_failure_leaves_the_old_file_untouched(tmp_path):
    (tmp_path / "file").write_text("old")

    with pytest.raises(RuntimeError), written_atomically(tmp_path / "file") as temporary:  # noqa: PT012  # the block is the subject
        temporary.write_text("half")
        raise RuntimeError

    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_leftovers_of_a_killed_writer_are_swept_and_nothing_else(tmp_path):
    (tmp_path / ".file.0011.tmp").write_text("half")
    (tmp_path / "file").write_text("whole")

    removed = sweep(tmp_path)

    assert [path.name for path in removed] == [".file.0011.tmp"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
