"""Run files: defaults lists, presets and what can be wrong with a file."""

import pytest

from tetrad_config import ConfigError
from tetrad_config.layer import OriginKind
from tetrad_config.run_file import file_layers, preset_names, read_yaml


def write(folder, **files):
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_defaults_come_below_the_file_unless_self_says_otherwise(tmp_path):
    write(
        tmp_path,
        base="trainer: {seed: 1}",
        last="defaults: [base]\ntrainer: {seed: 2}",
        first="defaults: [_self_, base]\ntrainer: {seed: 2}",
    )

    last, first = (file_layers(tmp_path / f"{name}.yaml") for name in ("last", "first"))

    assert [layer.tree["trainer"]["seed"] for layer in last] == [1, 2]
    assert [layer.tree["trainer"]["seed"] for layer in first] == [2, 1]


def test_the_base_that_the_tutorial_names_is_built_in(tmp_path):
    write(tmp_path, run="defaults: [/ppo_base_config, _self_]")

    layers = file_layers(tmp_path / "run.yaml")

    assert [layer.origin.name for layer in layers] == ["ppo_base_config.yaml", "run.yaml"]


@pytest.mark.parametrize("entry", ["experiment: cpu", "override /experiment: cpu", "/experiment/cpu"])
def test_a_defaults_list_may_name_a_group(tmp_path, entry):
    write(tmp_path, run=f"defaults:\n  - {entry}\n")

    layers = file_layers(tmp_path / "run.yaml")

    assert [layer.origin.name for layer in layers] == ["cpu.yaml", "run.yaml"]
    assert all(layer.origin.kind is OriginKind.FILE for layer in layers)


def test_defaults_that_name_each_other_are_refused(tmp_path):
    write(tmp_path, a="defaults: [b]", b="defaults: [a]")

    with pytest.raises(ConfigError, match=r"circle: a\.yaml → b\.yaml → a\.yaml"):
        file_layers(tmp_path / "a.yaml")


def test_an_entry_that_is_nowhere_names_the_folders(tmp_path):
    write(tmp_path, run="defaults: [/nowhere]")

    with pytest.raises(ConfigError, match=rf"nowhere is in none of {tmp_path}, .*presets"):
        file_layers(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\na: 2", "found duplicate key a"),
        ("a: [", "is not valid YAML"),
        ("- a", "holds a list; a mapping of sections"),
        ("a: ${", "is not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, text, reason):
    write(tmp_path, run=text)

    with pytest.raises(ConfigError, match=reason):
        read_yaml(tmp_path / "run.yaml")


def test_an_empty_file_is_an_empty_run_file(tmp_path):
    write(tmp_path, run="\n# nothing\n")

    assert read_yaml(tmp_path / "run.yaml") == {}


def test_a_preset_beside_the_file_hides_the_built_in_one(load_run, tmp_path):
    write(tmp_path, experiment__cpu="trainer: {seed: 5}")

    assert load_run("+experiment=cpu", text="{}").config.trainer.seed == 5


def test_an_unknown_preset_lists_the_known_ones(problems_of):
    problems = problems_of("+experiment=cpuu")

    assert problems == [
        "+experiment=cpuu: no such preset; did you mean cpu?; presets: cpu, cpu-tiny, demo, faithful, fast, "
        "grpo_qwen2.5-0.5b_math500, gsm8k-cpu, gsm8k-grpo, lora, multi-gpu, one-gpu, ppo-gae, reasoning-gym-cpu, rloo"
    ]


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads(load_run, name):
    load_run(f"+experiment={name}", "trainer.policy.model.path=/models/any")
