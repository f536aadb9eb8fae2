"""What `tetrad eval` is told becomes a run that only evaluates."""

import shutil

import pytest

from tetrad_cli.evaluated import DECIDED, Wishes, checkpoint, evaluation_of, model
from tetrad_cli.prepared import prepare
from tetrad_cli.run_options import RunOptions
from tetrad_config import dump_resolved, load
from tetrad_config.interpolation import ASSETS
from tetrad_config.schema import fields
from tetrad_runtime.exits import ConfigFault
from tetrad_trajectories.checkpoint import MANIFEST, write_manifest

WARM_START = ASSETS / "demo" / "warm_start"


@pytest.fixture
def folder(tmp_path):
    """A checkpoint in the folder of a run with its own settings."""
    run_dir = tmp_path / "my run"
    shutil.copytree(WARM_START, run_dir / "checkpoints" / "global_step_3")
    write_manifest(run_dir / "checkpoints" / "global_step_3", {"step": 3})
    settings = (
        "trainer.seed=7",
        f"trainer.run_dir={run_dir}",
        "trainer.resume_mode=latest",
        "trainer.overwrite=false",
        "trainer.dump_eval_results=true",
    )
    (run_dir / "config.yaml").write_text(dump_resolved(load(["+experiment=demo", *settings], environ={}).config))
    return run_dir / "checkpoints" / "global_step_3"


def options_of(*overrides, config_name=None):
    return RunOptions(config_path=None, config_name=config_name, overrides=overrides)


def prepared_of(subject, tmp_path, *overrides, **wishes):
    options = evaluation_of(subject, Wishes(**wishes), options_of(*overrides), folder=tmp_path / "aside")
    return prepare(options, environ={})


def test_a_checkpoint_is_evaluated_with_the_settings_of_its_run_and_leaves_it_alone(folder, tmp_path):
    prepared = prepared_of(checkpoint(folder), tmp_path)

    trainer = prepared.config.trainer
    assert (trainer.seed, trainer.epochs, trainer.eval_before_train, trainer.logger) == (7, 0, True, ())
    assert trainer.policy.model.path == prepared.config.generator.model_name == str(folder)
    assert prepared.run_dir == tmp_path / "aside" / "run"
    assert trainer.ckpt_path == prepared.run_dir / "checkpoints"
    assert not trainer.dump_eval_results
    assert prepared.loaded.notices == ()


def test_what_the_user_says_has_the_last_word(folder, tmp_path):
    data = tmp_path / "a, b.jsonl"
    data.touch()

    config = prepared_of(
        checkpoint(folder),
        tmp_path,
        "generator.eval_sampling_params.temperature=0.5",
        data=[str(data)],
        num_samples=4,
        dump=tmp_path / "answers",
    ).config

    assert config.data.val_data == (str(data),)
    assert (config.generator.eval_n_samples_per_prompt, config.generator.eval_sampling_params.temperature) == (4, 0.5)
    assert (config.trainer.dump_eval_results, config.trainer.export_path) == (True, tmp_path / "answers")


def test_a_link_to_a_checkpoint_is_followed(folder):
    (folder.parent / "latest").symlink_to(folder.name)

    subject = checkpoint(folder.parent / "latest")

    assert (subject.model, subject.step, subject.run_dir) == (str(folder), 3, folder.parents[1])


def test_a_model_is_evaluated_with_the_settings_that_are_named(tmp_path):
    config = prepared_of(model(str(WARM_START)), tmp_path, "+experiment=demo").config

    assert config.trainer.policy.model.path == str(WARM_START)
    assert config.environment.env_class == "arithmetic"


def test_a_name_that_is_no_folder_is_the_hub_s():
    assert model("org/model").model == "org/model"


def test_a_run_file_that_is_named_replaces_that_of_the_run(folder, tmp_path):
    named = options_of(config_name="mine")

    options = evaluation_of(checkpoint(folder), Wishes(), named, folder=tmp_path)

    assert (options.config_path, options.config_name) == (None, "mine")


def test_a_damaged_checkpoint_is_refused_with_the_reason(folder, tmp_path):
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    with pytest.raises(ConfigFault, match=r"model\.safetensors is missing or differs from the manifest"):
        prepared_of(checkpoint(folder), tmp_path)


def test_a_folder_without_a_manifest_is_no_checkpoint(folder):
    (folder / MANIFEST).unlink()

    with pytest.raises(ConfigFault, match=r"is no checkpoint: .*name a folder …/global_step_N, or a model"):
        checkpoint(folder)


@pytest.mark.parametrize("word", ["trainer.epochs=3", "+trainer.run_dir=/x", "~trainer.logger"])
def test_what_evaluation_decides_itself_cannot_be_set(folder, tmp_path, word):
    with pytest.raises(ConfigFault, match="is not yours to set in `tetrad eval`: "):
        prepared_of(checkpoint(folder), tmp_path, word)


def test_every_decided_key_exists():
    assert set(DECIDED) <= set(fields())
