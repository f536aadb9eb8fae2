"""Which commit the running code says that it is of."""

import re
import subprocess
from pathlib import Path

import pytest

from tetrad_telemetry.commit import UNKNOWN, checked_out, commit_of
from tetrad_telemetry.metrics import Metrics

ROOT = Path(__file__).parents[3]
SHA = "0123456789abcdef0123456789abcdef01234567"
OTHER = SHA[::-1]


def a_checkout(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / ".git" / name.replace("__", "/").replace("packed", "packed-refs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "libs").mkdir()
    return folder / "libs"


@pytest.mark.parametrize(
    "files",
    [
        {"HEAD": f"{SHA}\n"},
        {"HEAD": "ref: refs/heads/main\n", "refs__heads__main": f"{SHA}\n"},
        {"HEAD": "ref: refs/heads/main\n", "packed": f"# pack-refs\n{OTHER} refs/heads/old\n{SHA} refs/heads/main\n"},
    ],
    ids=["detached", "loose", "packed"],
)
def test_the_commit_of_a_checkout_is_read_from_its_files(tmp_path, files):
    assert checked_out(a_checkout(tmp_path, **files)) == SHA


def test_a_worktree_is_a_checkout_too(tmp_path):
    a_checkout(
        tmp_path / "main",
        refs__heads__side=SHA,
        worktrees__side__HEAD="ref: refs/heads/side\n",
        worktrees__side__commondir="../..\n",
    )
    (tmp_path / "side").mkdir()
    (tmp_path / "side" / ".git").write_text(f"gitdir: {tmp_path}/main/.git/worktrees/side\n")

    assert checked_out(tmp_path / "side") == SHA


def test_what_cannot_be_known_is_unknown(tmp_path):
    broken = a_checkout(tmp_path, HEAD="ref: refs/heads/gone\n", packed="# nothing\n")

    assert checked_out(broken) == UNKNOWN
    assert commit_of("no-such-distribution-anywhere") == UNKNOWN


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_the_page_of_a_service_says_the_commit_that_is_checked_out():
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)

    page = Metrics("reward", version="1").render().decode()

    assert re.search(r'tetrad_build_info\{commit="(\w+)"', page)[1] == head.stdout.strip()
