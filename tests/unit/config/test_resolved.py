"""The resolved run file: every key, its value, its origin; read back as it was."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrad_config import (
    ConfigError,
    OriginKind,
    RunConfig,
    config_hash,
    dump_resolved,
    is_resolved,
    learning_changes,
    load,
    load_resolved,
    preset_names,
)
from tetrad_config.resolved import UNHASHED
from tetrad_config.schema import fields
from tetrad_config.tree import leaves


def test_the_tutorials_file_survives(load_tutorial, tmp_path):
    loaded = load_tutorial()
    path = tmp_path / "config.yaml"

    path.write_text(dump_resolved(loaded.config, loaded.origins))

    assert load_resolved(path) == loaded.config


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_survives(load_run, tmp_path, name):
    loaded = load_run(f"+experiment={name}", "trainer.policy.model.path=/models/any")
    path = tmp_path / "config.yaml"

    path.write_text(dump_resolved(loaded.config, loaded.origins))

    assert load_resolved(path) == loaded.config


@settings(max_examples=40, deadline=None)
@given(st.text(), st.floats(min_value=0, allow_nan=False, allow_infinity=False), st.dictionaries(st.text(), st.text()))
def test_any_text_and_number_survives(tmp_path_factory, text, number, options):
    config = RunConfig.model_validate(
        {
            "trainer": {"project_name": text, "policy": {"optimizer_config": {"lr": number}}},
            "generator": {"engine_init_kwargs": options},
        }
    )
    path = tmp_path_factory.mktemp("resolved") / "config.yaml"

    path.write_text(dump_resolved(config))

    assert load_resolved(path) == config


def test_it_is_plain_yaml_with_every_key(load_tutorial):
    tree = yaml.safe_load(dump_resolved(load_tutorial().config))

    written = {key for key, _ in leaves(tree)}
    assert set(fields()) <= written | {"generator.engine_init_kwargs"}
    assert tree["trainer"]["policy"]["optimizer_config"]["lr"] == 1e-6


def test_comments_say_where_values_come_from(load_run):
    loaded = load_run("+experiment=cpu", "trainer.seed=3", text="trainer: {run_name: x}")

    lines = dump_resolved(loaded.config, loaded.origins).splitlines()

    assert [line.split("# ")[1] for line in lines if line.strip().startswith(("seed:", "run_name:", "run_dir:"))] == [
        "command line",
        "run.yaml",
        "from trainer.run_name",
    ]


def test_a_spoilt_file_is_explained(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("trainer: {sed: 1}")

    with pytest.raises(ConfigError, match=r"trainer\.sed: unknown key; did you mean trainer\.seed\?"):
        load_resolved(path)


def test_a_missing_file_is_explained(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_resolved(tmp_path / "config.yaml")


def test_the_hash_is_the_same_for_the_same_learning(load_run):
    assert config_hash(load_run().config) == config_hash(
        load_run("trainer.epochs=7", "generator.num_inference_engines=3", "trainer.run_name=other").config
    )


@pytest.mark.parametrize(
    "override", ["trainer.seed=1", "generator.n_samples_per_prompt=4", "reward.implementation=a:b"]
)
def test_the_hash_differs_where_the_learning_does(load_run, override):
    assert config_hash(load_run().config) != config_hash(load_run(override).config)


@pytest.mark.parametrize("key", UNHASHED)
def test_keys_outside_the_hash_exist(key):
    assert any(known == key or known.startswith(f"{key}.") for known in fields())


def test_changes_that_decide_the_learning_are_named_and_others_are_not(load_run):
    before = load_run("+experiment=demo").config
    now = load_run(
        "+experiment=demo", "trainer.seed=1", "trainer.max_steps=9", "generator.sampling_params.stop=[x]"
    ).config

    assert learning_changes(before, before) == []
    assert learning_changes(before, now) == [
        "trainer.seed: 42 is now 1",
        'generator.sampling_params.stop: [] is now ["x"]',
    ]
    assert config_hash(before) != config_hash(now)


def test_a_run_s_own_file_can_be_loaded_anew_and_nothing_in_it_was_asked_for(load_run, tmp_path):
    first = load_run("+experiment=demo", "trainer.seed=7")
    (tmp_path / "config.yaml").write_text(dump_resolved(first.config))

    again = load(["generator.n_samples_per_prompt=2"], config_path=tmp_path, config_name="config.yaml", environ={})

    assert again.config.trainer == first.config.trainer
    assert again.config.generator.n_samples_per_prompt == 2
    assert {origin.kind for origin in again.origins.values()} == {OriginKind.RUN, OriginKind.COMMAND_LINE}
    assert again.notices == ()


def test_a_user_s_file_is_not_taken_for_a_run_s(tmp_path):
    (tmp_path / "mine.yaml").write_text("trainer:\n  seed: 1\n")

    assert not is_resolved(tmp_path / "mine.yaml")
    assert not is_resolved(tmp_path / "gone.yaml")
