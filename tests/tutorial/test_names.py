"""The distribution of the tutorial's own names: complete, and nobody's dependency."""

import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

from tutorial.workshop import ROOT

NAMES = ROOT / "skyrl-train"
SCRIPT = NAMES / "examples" / "gsm8k" / "gsm8k_dataset.py"


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def test_nothing_of_tetrad_depends_on_it():
    name = project(NAMES)["project"]["name"]

    others = [project(path.parent)["project"] for path in ROOT.glob("*/*/pyproject.toml")]

    assert len(others) > 10
    for other in others:
        needs = [*other["dependencies"], *chain(*other.get("optional-dependencies", {}).values())]
        assert not any(need.startswith(name) for need in needs), other["name"]


def test_it_is_no_part_of_the_workspace_so_that_its_environment_is_its_own():
    members = project(ROOT)["tool"]["uv"]["workspace"]["members"]

    assert not any(NAMES.match(member) for member in members)
    assert project(NAMES)["tool"]["uv"]["workspace"] == {}


def test_every_distribution_of_ours_that_it_needs_is_the_one_beside_it():
    document = project(NAMES)
    sources = document["tool"]["uv"]["sources"]

    ours = {need.partition("[")[0] for need in document["project"]["dependencies"] if need.startswith("tetrad-")}

    assert ours == sources.keys()
    for name, source in sources.items():
        assert project(NAMES / source["path"])["project"]["name"] == name


def test_the_printed_module_is_the_train_command():
    asked = subprocess.run(
        [sys.executable, "-m", "skyrl_train.entrypoints.main_base", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert asked.returncode == 0, asked.stderr
    assert "usage: tetrad train" in asked.stdout


@pytest.mark.parametrize(
    ("words", "roles"),
    [([], ["system", "user"]), (["--system_prompt", ""], ["user"]), (["--system-prompt", ""], ["user"])],
)
def test_the_script_writes_what_the_tutorial_shows_or_what_skyrl_writes(tmp_path, words, roles):
    from tetrad_trajectories.dataset import Dataset

    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text('{"question": "2 + 3?", "answer": "5 #### 5"}\n')

    command = [sys.executable, SCRIPT, "--output_dir", tmp_path, "--source", tmp_path, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"1 rows", done.stdout)) == 2
    row = Dataset.read([tmp_path / "train.parquet"])[0]
    assert [message.role for message in row.prompt] == roles
