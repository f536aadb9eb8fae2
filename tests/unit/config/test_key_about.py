"""What is said of a key, and which key a word means."""

import pytest

from tetrad_config.field_words import default_words, type_words
from tetrad_config.key_about import about, meant_by, near, why_not_here
from tetrad_config.schema import fields
from tetrad_config.section import DottedKey


def lines_of(key, loaded=None) -> dict[str, str]:
    _name, sentence, *rows = about(DottedKey(key), loaded)
    return {"sentence": sentence.strip(), **{row[2:14].strip(): row[14:] for row in rows}}


def test_a_key_is_told_with_type_unit_default_readers_and_names_elsewhere():
    said = lines_of("trainer.policy_mini_batch_size")

    assert said["sentence"] == "Prompts per optimizer step of the policy."
    assert said["type"] == "integer >= 1"
    assert said["unit"] == "prompts"
    assert said["default"] == "256"
    assert said["read by"] == "coordinator, trainer ranks"
    assert "verl: actor_rollout_ref.actor.ppo_mini_batch_size" in said["elsewhere"]
    assert said["variable"] == "TETRAD_TRAINER__POLICY_MINI_BATCH_SIZE"


def test_with_a_run_file_the_value_is_told_and_who_set_it(load_run):
    loaded = load_run("trainer.epochs=3", "trainer.algorithm.advantage_estimator=rloo", text="trainer:\n  seed: 9\n")

    assert lines_of("trainer.epochs", loaded)["value"] == "3 (command line)"
    assert lines_of("trainer.seed", loaded)["value"].startswith("9 (")
    assert "run.yaml" in lines_of("trainer.seed", loaded)["value"]
    assert lines_of("trainer.algorithm.grpo_std", loaded)["no effect"] == "in this run: advantage_estimator=rloo"


def test_what_follows_a_key_is_told_on_both_sides():
    assert lines_of("trainer.ckpt_path")["follows"] == "trainer.run_dir, where it is absent or null"
    assert lines_of("trainer.run_dir")["followed by"] == "trainer.ckpt_path, trainer.export_path"


def test_a_key_that_is_refused_says_so_and_why():
    assert lines_of("generator.chat_template_kwargs")["refused"].startswith("anything but {}: ")


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        ("trainer.ckpt_dir", ["trainer.ckpt_path"]),
        ("num_generations", ["generator.n_samples_per_prompt"]),
        ("actor_rollout_ref.rollout.n", ["generator.n_samples_per_prompt"]),
        ("lr", ["trainer.policy.optimizer_config.lr", "trainer.critic.optimizer_config.lr"]),
        ("journal", ["journal.keep"]),
    ],
)
def test_a_word_may_be_an_alias_another_systems_name_a_last_part_or_a_section(word, keys):
    assert list(meant_by(word).keys) == keys


def test_an_unknown_key_has_near_names():
    assert meant_by("generator.weight_sync_timout").keys == ()
    assert near("generator.weight_sync_timout")[0] == "generator.weight_sync_timeout"


def test_a_key_of_skyrl_that_means_nothing_here_says_why():
    from tetrad_config.refused import OUT_OF_SCOPE

    key, refusable = next(iter(OUT_OF_SCOPE.items()))

    assert why_not_here(key) == refusable.reason
    assert why_not_here("trainer.nothing") is None


@pytest.mark.parametrize("key", fields())
def test_every_key_can_be_told(key):
    field = fields()[key]

    assert type_words(field)
    assert default_words(field)
    assert len(about(key)) > 4
