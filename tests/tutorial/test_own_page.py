"""The tutorial of our own: every block says what it is for, every run file is accepted, and all of it is executed."""

import re
from pathlib import Path

import pytest

from tetrad_config import load, plan
from tutorial.blocks import blocks_of
from tutorial.commands import overrides_of
from tutorial.hub import make_dataset
from tutorial.machine import Machine
from tutorial.own_page import OwnPage, purpose_of
from tutorial.small_runs import SmallRuns
from tutorial.workshop import ROOT, Workshop

PAGE = ROOT / "docs" / "tutorials" / "gsm8k-grpo-with-sglang.md"
BLOCKS = list(blocks_of(PAGE.read_text(encoding="utf-8")))
# These need no model; all others follow from a training.
QUICK = ("2. Data", "3. The run file", "5. What a step does")
WORDS = re.compile(r"^\| [^|]+ \| `([^`]+)` \|$", re.MULTILINE)


def test_every_block_says_what_it_is_for():
    assert len(BLOCKS) > 10
    for block in BLOCKS:
        purpose, argument = purpose_of(block)
        assert argument or purpose in ("bash", "python", "server"), block.line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a reader who has saved what the page has to save."""
    for block in BLOCKS:
        purpose, name = purpose_of(block)
        if purpose == "file":
            (tmp_path / name).write_text(block.text)
    return tmp_path


def loaded(folder: Path, words: list[str]):
    place = words.index("--config-name")
    assert words[place - 2 : place] == ["--config-path", "."]
    overrides = [word for word in words if "=" in word]
    return load(overrides, config_path=".", config_name=words[place + 1], environ={"HOME": "/home/ada"}, cwd=folder)


def test_its_commands_are_accepted(folder):
    commands = [words for block in BLOCKS for words in overrides_of(block.text)]

    configs = [loaded(folder, words).config for words in commands]

    assert len(configs) >= 2
    assert {config.environment.env_class for config in configs} == {"gsm8k"}
    assert plan(configs[0], 7473).length.steps_per_epoch == 29


@pytest.mark.parametrize("words", [found for found in WORDS.findall(PAGE.read_text()) if "=" in found])
def test_the_words_of_its_table_are_accepted(folder, words):
    overrides = ["--config-path", ".", "--config-name", "gsm8k_grpo", *words.split()]

    assert loaded(folder, overrides).config


def test_its_blocks_that_need_no_model_are_executed(tmp_path):
    make_dataset(tmp_path / "hub")
    workshop = Workshop(tmp_path, hub=tmp_path / "hub")
    page = OwnPage(workshop, SmallRuns(workshop, Machine(num_gpus=0)))
    blocks = [block for block in BLOCKS if block.heading in QUICK]

    not_run = [block.line for block in blocks if page.execute(block)]

    assert len(blocks) >= 6
    assert not_run == []
    assert {path.name for path in (workshop.home / "data" / "gsm8k").iterdir()} == {
        "train.parquet",
        "validation.parquet",
    }


@pytest.mark.live
@pytest.mark.timeout(7200)
def test_its_blocks_are_executed_in_order(hub, machine, tmp_path):
    workshop = Workshop(tmp_path, hub=hub)
    page = OwnPage(workshop, SmallRuns(workshop, machine))

    not_run = {block.line: reason for block in BLOCKS if (reason := page.execute(block))}

    assert len(not_run) < len(BLOCKS) // 3, not_run
