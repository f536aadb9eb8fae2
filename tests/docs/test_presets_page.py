"""The page on presets: it lists all of them, and says of each what its file does."""

import re
from pathlib import Path

import pytest
import yaml

from tetrad_config import load, preset_names
from tetrad_config.generator import Backend
from tetrad_config.run_file import BUILT_IN, PRESET_ALIASES, read_yaml
from tetrad_config.tree import leaves

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "choose-a-preset.md").read_text(encoding="utf-8")
# Where a run keeps its things; of no interest to its learning.
PLACES = {"trainer.run_name", "trainer.run_dir", "trainer.ckpt_path", "trainer.export_path"}
# Its table holds what is worth knowing, not all.
MINIATURE = "cpu-tiny"
ABSENT = "–"
SECTIONS = dict(re.findall(r"^## `([\w-]+)`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def config_of(name):
    overrides = [f"+experiment={name}", *(["trainer.policy.model.path=/m"] if name.endswith("-cpu") else [])]
    return load(overrides, environ={"HOME": "/home/ada"}).config


def keys_of(name):
    return dict(leaves(config_of(name).model_dump(mode="json")))


def rows_of(section):
    return {
        key: (old, new) for key, old, new in re.findall(r"^\| `([\w.]+)` \| (.*?) \| (.*?) \|", section, re.MULTILINE)
    }


def test_every_preset_is_listed_with_the_gpus_that_it_takes():
    listed = dict(re.findall(r"^\| `([\w-]+)` \| (\d+) \| \S", PAGE, re.MULTILINE))

    configs = {name: config_of(name) for name in preset_names() if name not in PRESET_ALIASES}
    assert {name: int(gpus) for name, gpus in listed.items()} == {
        name: config.trainer.placement.policy_num_gpus_per_node if config.generator.backend is Backend.SGLANG else 0
        for name, config in configs.items()
    }
    assert all(f"`{name}`" in PAGE for name in PRESET_ALIASES)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_table_says_what_a_preset_changes_and_to_what(name):
    theirs, ours = keys_of("faithful"), keys_of(name)
    changed = {key for key in theirs | ours if theirs.get(key) != ours.get(key)} - PLACES

    rows = rows_of(SECTIONS[name])

    assert rows
    assert rows.keys() <= changed if name == MINIATURE else rows.keys() == changed
    for key, written in rows.items():
        found = (theirs.get(key, ABSENT), ours.get(key, ABSENT))
        assert tuple(yaml.load(text, Loader=yaml.SafeLoader) for text in written) == found, key


def test_the_miniature_leaves_the_algorithm_adapters_and_loggers_to_what_is_below():
    set_there = {key for key, _ in leaves(read_yaml(BUILT_IN / "experiment" / f"{MINIATURE}.yaml"))}

    assert not [key for key in set_there if key.startswith(("trainer.algorithm", "trainer.logger")) or "lora" in key]


@pytest.mark.parametrize("name", ["fast", "lora", "ppo-gae", "rloo", "multi-gpu", "one-gpu", "gsm8k-grpo"])
def test_a_miniature_of_each_has_its_algorithm(name):
    whole = config_of(name).trainer
    tiny = load([f"+experiment={name}", f"+experiment={MINIATURE}"], environ={"HOME": "/home/ada"}).config.trainer

    assert tiny.algorithm == whole.algorithm
    assert tiny.has_critic == whole.has_critic
    assert tiny.policy.model.lora == whole.policy.model.lora
    assert tiny.policy.model.path == tiny.ref.model.path
