"""What is said of each key is so: who acts on it, its unit, its names in other systems."""

import ast
from collections import defaultdict
from dataclasses import fields as fields_of
from functools import cache
from pathlib import Path
from typing import get_args

import peft
import pytest

from tetrad_config.aliases import ALIASES
from tetrad_config.elsewhere import _OTHER_IN_SKYRL, TRL, VERL, elsewhere, in_skyrl
from tetrad_config.readers import READERS, Reader, readers_of
from tetrad_config.refused import NOT_BUILT, OUT_OF_SCOPE
from tetrad_config.schema import fields
from tetrad_config.units import UNITS, unit_of

ROOT = Path(__file__).parents[3]
LEARNER = "services/learner/src/tetrad_learner"
SOURCES = {
    Reader.COORDINATOR: (f"{LEARNER}/coordinator", f"{LEARNER}/publishing", f"{LEARNER}/samples"),
    Reader.RANKS: (f"{LEARNER}/rank", f"{LEARNER}/trainer", f"{LEARNER}/host"),
    Reader.ROLLOUT: ("services/rollout/src",),
    Reader.REWARD: ("services/reward/src",),
    Reader.BROADCASTER: ("services/broadcaster/src",),
    Reader.LAUNCHER: ("libs/cli/src",),
}
# What sections are called where they are read.
CALLED = {
    "optimizer_config": "optimizer",
    "fsdp_config": "fsdp",
    "off_policy_correction": "correction",
    "overlong_buffer": "buffer",
    "sampling_params": "sampling",
    "eval_sampling_params": "sampling",
}
# Read as a whole, or through a function or a property of the configuration.
AS_A_WHOLE = ("environment.", "generator.enable_lora", "resources.threads_per_process")
# Refused by a table whose key stands beside.
BESIDE_REFUSED = ("trainer.critic.model.lora.", "generator.chat_template.source")


@cache
def read_in_sources():
    """(section, name) → the readers whose sources have `section.name`."""
    found = defaultdict(set)
    for reader, folders in SOURCES.items():
        paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
        assert paths, reader
        for path in paths:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute | ast.Name):
                    section = node.value.attr if isinstance(node.value, ast.Attribute) else node.value.id
                    found[section.lstrip("_"), node.attr].add(reader)
    return found


@pytest.mark.parametrize("key", [key for key in fields() if not key.startswith((*AS_A_WHOLE, *BESIDE_REFUSED))])
def test_who_acts_on_a_key_is_who_reads_it_in_the_sources(key):
    section, name = key.split(".")[-2:]
    sections = {section, CALLED.get(section, section)}

    found = set().union(*(read_in_sources()[one, name] for one in sections))

    said = set(readers_of(key))
    if CALLED.get(section) == "sampling":
        found -= {Reader.ROLLOUT, Reader.RANKS} - said  # rollouts read the lease's, ranks those of training
    assert said == (set() if key in NOT_BUILT else found)


def test_rows_of_the_tables_are_keys_or_sections():
    known = [*READERS, *_OTHER_IN_SKYRL, *VERL, *TRL]

    strange = [row for row in known if not any(key == row or key.startswith(f"{row}.") for key in fields())]

    assert strange == []


def is_number(annotation):
    held = [annotation, *(inner for outer in get_args(annotation) for inner in (outer, *get_args(outer)))]
    return any(one in (int, float) for one in held)


def test_each_number_has_a_unit_or_is_said_to_have_none():
    numbers = {key.rpartition(".")[2] for key, field in fields().items() if is_number(field.annotation)}

    assert numbers - UNITS.keys() == set()
    assert UNITS.keys() - {key.rpartition(".")[2] for key in fields()} == set()
    assert unit_of("trainer.micro_train_batch_size_per_gpu") == "samples"


def test_what_skyrl_calls_otherwise_is_an_alias_or_one_of_its_later_names():
    renamed = {key: name for key, name in _OTHER_IN_SKYRL.items() if name not in {None, key}}

    assert renamed
    for key, name in renamed.items():
        assert ALIASES[name] == key


def test_no_key_of_ours_is_one_of_those_that_only_skyrl_has():
    assert fields().keys() & OUT_OF_SCOPE.keys() == set()
    assert in_skyrl("trainer.train_batch_size") == "trainer.train_batch_size"
    assert in_skyrl("trainer.algorithm.overlong_buffer.len") is None
    assert elsewhere("generator.n_samples_per_prompt") == {
        "SkyRL": "generator.n_samples_per_prompt",
        "verl": "actor_rollout_ref.rollout.n",
        "TRL": "num_generations",
    }


def test_trl_has_the_names_that_it_is_said_to_have():
    trl = pytest.importorskip("trl", reason="TRL is in the environment of the benchmarks only")
    known = {field.name for field in fields_of(trl.GRPOConfig)}

    assert trl_names("") - known == set()


def test_peft_has_the_names_that_it_is_said_to_have():
    known = {field.name for field in fields_of(peft.LoraConfig)}

    assert {"r", "lora_alpha"} <= trl_names("LoraConfig.") <= known


def trl_names(prefix):
    """What TRL's side of the table has of one class."""
    names = {name.partition("=")[0] for row in TRL.values() for name in row.split(", ")}
    found = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    return {name for name in found if "." not in name and "(" not in name}
