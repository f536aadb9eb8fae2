"""Sockets have a private place with a short name, and nothing stays behind."""

import os
import stat
import time
from pathlib import Path

import pytest

from tetrad_cli.launch import runtime_dir as module
from tetrad_cli.launch.runtime_dir import MAX_SOCKET_PATH_BYTES, base_dir, path_for, runtime_dir, sweep
from tetrad_runtime.exits import MachineFault


@pytest.fixture
def environ(tmp_path_factory):
    # Shorter than tmp_path, whose name holds the test's.
    return {"XDG_RUNTIME_DIR": str(tmp_path_factory.mktemp("x"))}


def test_it_is_private_and_short_and_gone_afterwards(tmp_path, environ):
    with runtime_dir(tmp_path / ("long" * 50), environ) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert len(os.fsencode(path / "reward-255")) <= MAX_SOCKET_PATH_BYTES
        (path / "coordinator").touch()

    assert not path.exists()


def test_the_same_run_has_the_same_place_and_another_run_another(tmp_path, environ):
    assert path_for(tmp_path / "a", environ) == path_for(tmp_path / "b" / ".." / "a", environ)
    assert path_for(tmp_path / "a", environ) != path_for(tmp_path / "b", environ)


@pytest.mark.parametrize("given", ["", "/nonexistent", "long"])
def test_without_a_usable_place_it_is_below_tmp(given, tmp_path):
    long = tmp_path / ("l" * 100)
    long.mkdir()

    assert base_dir({"XDG_RUNTIME_DIR": str(long) if given == "long" else given}) == Path(f"/tmp/tetrad-{os.getuid()}")


def test_the_directory_of_a_dead_launcher_is_swept_and_a_live_one_kept(tmp_path, environ):
    with runtime_dir(tmp_path / "live", environ) as live:
        dead = live.parent / "dead"
        dead.mkdir()
        (dead / module.LOCK_NAME).touch()
        os.utime(dead / module.LOCK_NAME, (0, 0))
        os.utime(live / module.LOCK_NAME, (0, 0))

        assert sweep(live.parent) == [dead]
        assert live.exists()


def test_a_directory_that_is_being_made_is_not_swept(tmp_path, environ):
    with runtime_dir(tmp_path / "run", environ) as path:
        new, remnant = path.parent / "new", path.parent / "remnant"
        new.mkdir()
        remnant.mkdir()
        os.utime(remnant, (0, time.time() - 3600))

        assert sweep(path.parent) == [remnant]


def test_a_place_that_is_not_a_directory_of_ours_is_refused(tmp_path, environ):
    (Path(environ["XDG_RUNTIME_DIR"]) / "tetrad").symlink_to(tmp_path)

    with pytest.raises(MachineFault, match="is not a directory of user"), runtime_dir(tmp_path / "run", environ):
        pass
