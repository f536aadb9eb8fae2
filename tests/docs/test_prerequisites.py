"""What the first pages ask for is what the set-up and the doctor ask for, in the same words."""

import re
import tomllib

import pytest

from docs.pages import ROOT
from tetrad_cli.doctor.driver import MIN_BRANCH

FLOOR = re.search(r"Tetrad needs (Python 3\.\d+ or newer)", (ROOT / "Makefile").read_text())[1]
GPU_PAGES = ("docs/how-to/run-on-a-gpu.md", "docs/tutorials/gsm8k-grpo-with-sglang.md")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/tutorials/first-run.md"])
def test_pages_ask_for_the_python_that_make_setup_asks_for(page):
    assert FLOOR in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", ["libs/cli", "services/learner", "services/rollout", "skyrl-train"])
def test_distributions_ask_for_it_too(folder):
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]

    assert project["requires-python"] == f">={FLOOR.split()[1]}"


@pytest.mark.parametrize("page", GPU_PAGES)
def test_pages_for_gpus_ask_for_the_driver_that_doctor_asks_for(page):
    text = (ROOT / page).read_text(encoding="utf-8")

    (cuda, branch) = re.search(r"driver for CUDA (\d+) \((\d+) or newer\)", text).groups()
    assert MIN_BRANCH[int(cuda)] == int(branch)
    assert "16 GB" in text
