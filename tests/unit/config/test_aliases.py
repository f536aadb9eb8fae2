"""Aliases: taken for the real key, announced, and never both."""

import pytest

from tetrad_config.aliases import ALIASES
from tetrad_config.schema import fields


@pytest.mark.parametrize(("alias", "key"), ALIASES.items())
def test_every_alias_leads_to_a_real_key_and_is_none_itself(alias, key):
    assert key in fields()
    assert alias not in fields()


def test_lambda_is_spelt_in_three_ways(load_run):
    spellings = ("lambd", "lambda_", "lambda")

    loaded = [load_run(f"trainer.algorithm.{spelling}=0.95") for spelling in spellings]

    assert [run.config.trainer.algorithm.lambd for run in loaded] == [0.95, 0.95, 0.95]
    assert "trainer.algorithm.lambda_ is an alias of trainer.algorithm.lambd (command line)" in loaded[1].notices


def test_an_alias_works_in_the_environment(load_run):
    config = load_run(TETRAD_TRAINER__CKPT_DIR="/ckpts").config

    assert str(config.trainer.ckpt_path) == "/ckpts"


def test_an_alias_and_its_key_in_one_file_contradict_each_other(problems_of):
    assert problems_of(text="trainer: {ckpt_dir: /a, ckpt_path: /b}") == [
        "trainer.ckpt_dir: is an alias of trainer.ckpt_path, and both are given (run.yaml)"
    ]


def test_deleting_an_alias_deletes_its_key(load_tutorial):
    config = load_tutorial("~trainer.ckpt_dir").config

    assert str(config.trainer.ckpt_path) == "outputs/sglang-grpo/checkpoints"


def test_newer_names_of_skyrl_are_understood(load_run):
    config = load_run("generator.inference_engine.num_engines=2", "trainer.max_training_steps=5").config

    assert (config.generator.num_inference_engines, config.trainer.max_steps) == (2, 5)
