"""The page for people who come from elsewhere: its tables are those of the code, and its keys are keys."""

import re
from pathlib import Path

import pytest

from tetrad_config import ConfigError, load
from tetrad_config.algorithm import AdvantageEstimator, KlEstimator, LossReduction, PolicyLoss
from tetrad_config.aliases import ALIASES
from tetrad_config.elsewhere import TRL, VERL
from tetrad_config.refused import OUT_OF_SCOPE
from tetrad_config.schema import fields

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "migrate.md").read_text(encoding="utf-8")
NAMES = {name.value for kind in (AdvantageEstimator, KlEstimator, LossReduction, PolicyLoss) for name in kind}


def section(title):
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(("title", "names", "least"), [("From verl", VERL, 35), ("From TRL", TRL, 20)])
def test_each_row_is_a_name_that_the_table_of_the_code_has_for_that_key(title, names, least):
    rows = re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \|$", section(title), re.MULTILINE)

    assert len(rows) >= least
    assert [(theirs, ours) for theirs, ours in rows if theirs not in names[ours].split(", ")] == []


def test_the_tables_for_skyrl_are_those_of_the_code():
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.+) \|$", section("From SkyRL"), re.MULTILINE))
    lacking = {key: one.reason for key, one in OUT_OF_SCOPE.items() if ".megatron_config." not in key}
    expected = {**{str(alias): f"`{key}`" for alias, key in ALIASES.items()}, **lacking}

    assert {key: cell for key, cell in rows.items() if key in expected} == expected
    assert "`trainer.policy.megatron_config.*`, `trainer.ref.megatron_config.*`" in section("From SkyRL")


def test_the_values_in_the_table_for_verl_are_ours():
    rows = re.findall(r"^\| `(?:loss_agg_mode|kl_loss_type|loss_mode|adv_estimator)`.*\| (.+) \|$", PAGE, re.MULTILINE)

    named = {name for row in rows for name in re.findall(r"`([\w+]+)`", row)} - {"clip_ratio_c"}
    assert len(rows) == 4
    assert named - NAMES == set()


def test_keys_and_values_in_the_text_are_accepted():
    settings = re.findall(r"`((?:trainer|generator)\.[\w.]+)=([\w.-]+)`", PAGE)
    refused = {("generator.backend", "vllm"), ("trainer.strategy", "megatron")}

    assert len(settings) > 3
    assert refused <= set(settings)
    for key, value in settings:
        assert key in fields()
        if (key, value) in refused:
            with pytest.raises(ConfigError, match=key):
                load([f"{key}={value}"], environ={})
        else:
            load(["+experiment=demo", f"{key}={value}"], environ={})


def test_what_skyrls_file_has_under_another_name_is_said_by_a_notice():
    loaded = load(["+experiment=demo", "trainer.max_training_steps=3"], environ={})

    assert loaded.config.trainer.max_steps == 3
    assert any("trainer.max_training_steps is an alias of trainer.max_steps" in notice for notice in loaded.notices)
