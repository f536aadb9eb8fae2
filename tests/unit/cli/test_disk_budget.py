"""What checkpoints and journal take is named before the start, against what is free."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tetrad_cli.__main__ import main
from tetrad_cli.disk_budget import DiskBudget, disk_budget
from tetrad_config import load
from tetrad_runtime.exits import ConfigFault

pytestmark = pytest.mark.timeout(120)

DEMO = "+experiment=demo"
GB = 10**9


def a_budget(**changes: object) -> DiskBudget:
    """Ten checkpoints of 7 GB."""
    budget = DiskBudget(
        place=Path("/data"),
        free=100 * GB,
        checkpoint=7 * GB,
        checkpoints=70 * GB,
        num_kept=10,
        journal=2 * GB,
        has_best=False,
    )
    return replace(budget, **changes)


def test_what_fits_is_one_line_with_both_numbers() -> None:
    assert list(a_budget().lines()) == [
        "disk: at most 70.0 GB for checkpoints (10 kept, 7.0 GB each), and at most 2.0 GB for the journal; "
        "100.0 GB are free at /data"
    ]


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"free": 50 * GB}, 5),
        ({"free": 50 * GB, "has_best": True}, 4),
        ({"free": 71 * GB}, 8),
        ({"free": 8 * GB}, 1),
    ],
)
def test_where_not_all_fit_the_largest_number_that_does_is_named(changes: dict[str, object], kept: int) -> None:
    _needed, warning = a_budget(**changes).lines()

    assert f"full before the run ends: set trainer.max_ckpts_to_keep={kept}, or trainer.ckpt_path" in warning


def test_a_disk_without_room_for_one_checkpoint_is_refused_with_both_numbers() -> None:
    with pytest.raises(ConfigFault, match=r"one checkpoint takes 7\.0 GB; 6\.0 GB are free at /data; set trainer\.ck"):
        a_budget(free=6 * GB).refuse()


def test_what_is_not_known_is_not_compared() -> None:
    budget = a_budget(checkpoint=None, checkpoints=None, journal=None, free=0)

    budget.refuse()
    assert len(list(budget.lines())) == 1


def test_a_run_that_writes_none_says_nothing() -> None:
    assert list(disk_budget(load([DEMO, "trainer.epochs=0"], environ={}).config).lines()) == []


def test_checkpoints_that_lie_there_count_as_free(tmp_path: Path) -> None:
    config = load([DEMO, f"trainer.ckpt_path={tmp_path / 'checkpoints'}"], environ={}).config
    folder = tmp_path / "checkpoints" / "global_step_1"
    folder.mkdir(parents=True)
    # With a hole in place of its bytes.
    (folder / "weights").touch()
    os.truncate(folder / "weights", 10**12)

    budget = disk_budget(config)

    # Others write on that disk meanwhile.
    assert budget.free - shutil.disk_usage(tmp_path).free == pytest.approx(10**12, abs=10**10)
    assert budget.place == tmp_path / "checkpoints"


def test_train_prints_it_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--check", DEMO]) == 0
    assert "disk: at most 20.6 MB for checkpoints (3 kept, 6.9 MB each)" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists() or shutil.which("unshare") is None, reason="needs util-linux")
def test_train_on_a_disk_that_is_too_small_is_refused(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    program = [sys.executable, "-m", "tetrad_cli", "train", "--check", DEMO, f"trainer.ckpt_path={small}"]
    script = 'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script, str(small), *program],
        capture_output=True,
        text=True,
        check=False,
    )
    if "tetrad:" not in done.stderr:
        pytest.skip(f"no mounts of one's own here: {done.stderr[-200:]}")

    assert done.returncode == 78
    assert "one checkpoint takes 6.9 MB; 4.2 MB are free at" in done.stderr
