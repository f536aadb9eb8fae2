"""No key of the run file is ignored: it is read by what runs, or refused, or said to have no effect."""

import re
from functools import cache
from pathlib import Path

import pytest

from tetrad_config import ConfigError, load
from tetrad_config.followers import FOLLOWERS
from tetrad_config.notices import CONDITIONAL
from tetrad_config.refused import NOT_BUILT
from tetrad_config.schema import fields

ROOT = Path(__file__).parents[3]
# What acts on a key; rules, plans and notices only talk about it.
SOURCES = (
    *sorted(ROOT.glob("services/*/src/**/*.py")),
    *sorted(ROOT.glob("libs/cli/src/**/*.py")),
    ROOT / "libs/config/src/tetrad_config/threads.py",
)
# As far as anything is built: every condition that can be met is met here.
MOST = (
    "+experiment=demo",
    "trainer.algorithm.use_kl_loss=true",
    "trainer.max_tokens_per_microbatch=-1",
    "trainer.micro_train_batch_size_per_gpu=1",
    "trainer.dump_eval_results=true",
    "generator.max_turns=2",
    "generator.sampling_params.stop=[x]",
)
# Refused by a rule with every engine that is built.
RULED = {
    "generator.inference_engine_tensor_parallel_size": "2",
    "generator.engine_init_kwargs": "{attention_backend: fa3}",
}
# Handed on as a whole to environments of another package, which read them.
FOREIGN = ("environment.skyrl_gym.search", "environment.skyrl_gym.text2sql")


@cache
def source() -> str:
    assert len(SOURCES) > 100
    return "\n".join(path.read_text() for path in SOURCES)


def is_read(key: str) -> bool:
    return re.search(rf"\.{key.rpartition('.')[2]}\b", source()) is not None


def is_below(key: str, names) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def conditions_of(key: str):
    return [row for row in CONDITIONAL if is_below(key, row.keys)]


@pytest.mark.parametrize("key", fields())
def test_a_key_is_read_or_refused_or_said_to_have_no_effect(key):
    if is_read(key) or is_below(key, NOT_BUILT) or key in FOLLOWERS or key in RULED or is_below(key, FOREIGN):
        return

    rows = conditions_of(key)

    assert rows, f"{key} is read by nothing; honour it, or give it a line in NOT_BUILT or CONDITIONAL"
    config = load(MOST, environ={}).config
    mattering = [row for row in rows if row.matters(config)]
    assert not mattering, f"{key} is said to matter in a run that can be had, and is read by nothing"


@pytest.mark.parametrize(("key", "value"), RULED.items())
def test_what_only_an_engine_that_is_not_built_reads_is_refused(key, value):
    with pytest.raises(ConfigError, match=key.rpartition(".")[2]):
        load([*MOST, f"{key}={value}"], environ={})


def test_what_is_refused_exists():
    assert [key for key in NOT_BUILT if key not in fields()] == []


def test_conditions_name_keys_that_exist():
    named = [name for row in CONDITIONAL for name in row.keys]

    assert [name for name in named if not any(is_below(key, [name]) for key in fields())] == []


def test_a_project_matters_only_to_loggers_that_file_runs_under_one():
    (row,) = conditions_of("trainer.project_name")

    for logger, matters in (("console", False), ("tensorboard", False), ("wandb", True), ("mlflow", True)):
        config = load(["+experiment=demo", f"trainer.logger=[{logger}]"], environ={}).config
        assert row.matters(config) is matters, logger
