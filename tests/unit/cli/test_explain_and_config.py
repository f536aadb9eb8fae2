"""`tetrad explain` and `tetrad config show`, as a user calls them."""

import yaml

from tetrad_cli.commands import config, explain
from tetrad_config import load
from tetrad_runtime.exits import ExitCode


def test_a_key_is_explained_with_its_value_in_a_run(capsys):
    assert explain.main(["generator.n_samples_per_prompt", "+experiment=demo"]) == 0

    said = capsys.readouterr().out
    assert said.startswith("generator.n_samples_per_prompt\n")
    assert "value       8 (preset demo)" in said


def test_a_section_lists_its_keys(capsys):
    assert explain.main(["reward"]) == 0

    assert "reward.num_replicas" in capsys.readouterr().out


def test_a_trouble_is_explained_with_cause_and_fix(capsys):
    assert explain.main(["out-of-memory"]) == 0

    said = capsys.readouterr().out
    assert "cause" in said
    assert "trainer.gradient_checkpointing=true" in said


def test_an_unknown_word_is_answered_with_near_keys_and_troubles(capsys):
    assert explain.main(["generator.weight_sync_timout"]) == ExitCode.CONFIG

    assert "near it: generator.weight_sync_timeout" in capsys.readouterr().err


def test_a_run_file_that_is_wrong_is_refused_as_everywhere(capsys):
    assert explain.main(["trainer.seed", "trainer.sed=3"]) == ExitCode.CONFIG

    assert "did you mean trainer.seed" in capsys.readouterr().err


def test_every_key_is_shown_as_yaml_that_reads_back(capsys):
    assert config.main(["show", "+experiment=demo", "trainer.seed=7"]) == 0

    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown == load(["+experiment=demo", "trainer.seed=7"], environ={}).config.model_dump(mode="json")


def test_each_value_says_which_source_set_it(capsys, monkeypatch, tmp_path):
    (tmp_path / "run.yaml").write_text("trainer:\n  epochs: 4\n")
    monkeypatch.setenv("TETRAD_TRAINER__SEED", "5")
    monkeypatch.setenv("TETRAD_TRAINER__RUN_NAME", "mine")

    where = ["--config-path", str(tmp_path), "--config-name", "run"]
    assert config.main(["show", "--origin", *where, "trainer.run_name=ours", "+experiment=cpu"]) == 0

    origins = {
        line.split(":")[0].strip(): line.partition("  # ")[2]
        for line in capsys.readouterr().out.splitlines()
        if "#" in line
    }
    assert origins["seed"] == "TETRAD_TRAINER__SEED"
    assert origins["run_name"] == "command line"
    assert origins["epochs"].endswith("run.yaml")
    assert origins["colocate_all"] == "preset cpu"
    assert origins["ckpt_path"] == "from trainer.run_dir"
    assert origins["train_batch_size"] == "default"


def test_only_what_was_changed_and_only_one_section_may_be_asked_for(capsys):
    assert config.main(["show", "--changed", "--below", "trainer", "trainer.seed=7"]) == 0

    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["trainer"]["seed"] == 7
    assert "epochs" not in shown["trainer"]


def test_a_section_that_is_not_there_is_an_error(capsys):
    assert config.main(["show", "--below", "trainr"]) == ExitCode.CONFIG

    assert "--below trainr: there is no such key" in capsys.readouterr().err
