"""Every example says what the tutorial's snippet says, loads without a key that does nothing, and fits its GPUs."""

import argparse
import ast
import importlib.util
import json
import os
import re
import subprocess
import sys

import pytest
from examples.readme import EXAMPLES, OURS, commands_of, training_commands

from tetrad_cli.run_options import add_run_options, parse_run_options
from tetrad_config import MachineFacts, check_machine, load
from tetrad_config.run_file import read_yaml
from tetrad_config.tree import leaves

ENVIRON = {"HOME": "/home/ada"}
# What each of the tutorial's snippets sets.
SNIPPETS = {
    "larger-model": {
        "trainer.policy.model.path": "Qwen/Qwen2.5-1.5B-Instruct",
        "generator.inference_engine_tensor_parallel_size": 2,
    },
    "ppo-gae": {
        "trainer.algorithm.advantage_estimator": "gae",
        "trainer.algorithm.gamma": 0.99,
        "trainer.algorithm.lambda_": 0.95,
        "trainer.critic.model.path": "${trainer.policy.model.path}",
    },
    "rloo": {"trainer.algorithm.advantage_estimator": "rloo"},
    "lora": {
        "trainer.policy.model.path": "Qwen/Qwen2.5-0.5B-Instruct",
        "trainer.policy.model.lora.rank": 32,
        "trainer.policy.model.lora.alpha": 32,
        "trainer.policy.model.lora.target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"],
        "trainer.policy.optimizer_config.lr": 3.0e-5,
        "generator.enable_lora": True,
        "generator.engine_init_kwargs.max_lora_rank": 64,
    },
    "multi-gpu": {
        "trainer.placement.colocate_all": True,
        "trainer.placement.policy_num_gpus_per_node": 8,
        "generator.num_inference_engines": 8,
        "generator.inference_engine_tensor_parallel_size": 1,
    },
    "wandb": {
        "trainer.logger": "wandb",
        "trainer.project_name": "gsm8k-training",
        "trainer.run_name": "sglang-grpo-experiment",
    },
    "tensorboard": {"trainer.logger": "tensorboard"},
}
WITH_RUN_FILE = [name for name in OURS if (EXAMPLES / name / "run.yaml").is_file()]


def loaded(words, monkeypatch):
    """Load what a command would, from where it is given."""
    monkeypatch.chdir(EXAMPLES.parent)
    parser = argparse.ArgumentParser()
    add_run_options(parser)
    options, _ = parse_run_options(parser, words)
    return load(options.overrides, config_path=options.config_path, config_name=options.config_name, environ=ENVIRON)


def test_every_snippet_has_its_example():
    assert SNIPPETS.keys() == set(WITH_RUN_FILE)


@pytest.mark.parametrize("name", WITH_RUN_FILE)
def test_an_example_sets_what_the_snippet_sets(name):
    written = dict(leaves(read_yaml(EXAMPLES / name / "run.yaml")))

    assert SNIPPETS[name].items() <= written.items()


@pytest.mark.parametrize("name", WITH_RUN_FILE)
def test_an_example_fits_the_gpus_that_its_page_names_and_no_fewer(name, monkeypatch):
    (words,) = training_commands(name, is_miniature=False)
    asked = 8 if "# eight GPUs" in (EXAMPLES / name / "README.md").read_text() else 4

    config = loaded(words, monkeypatch).config

    machines = [
        MachineFacts(num_cores=8, gpus=("NVIDIA A100",) * number, has_sglang=True, is_offline=False, absent=frozenset())
        for number in (asked, asked - 1)
    ]
    assert [check_machine(config, machine) == [] for machine in machines] == [True, False]


@pytest.mark.parametrize("name", OURS)
def test_an_example_s_miniature_loads_and_keeps_its_algorithm(name, monkeypatch):
    (words,) = training_commands(name, is_miniature=True)

    config = loaded(words, monkeypatch).config

    assert config.generator.backend == "transformers"
    for whole in training_commands(name, is_miniature=False):
        assert config.trainer.algorithm == loaded(whole, monkeypatch).config.trainer.algorithm


@pytest.mark.parametrize("name", OURS)
def test_a_page_is_short_and_names_only_files_that_are_there(name):
    page = (EXAMPLES / name / "README.md").read_text()

    assert len(page.splitlines()) <= 25
    for target in re.findall(r"\]\(([^)#]+)", page):
        assert (EXAMPLES / name / target).exists(), target


def a_class(path, name):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def test_a_second_try_is_asked_for_once_and_pays_half():
    question = {"role": "user", "content": "13+54="}
    env = a_class(EXAMPLES / "custom-environment" / "second_try.py", "SecondTry")(
        env_config={}, extras={"reward_spec": {"ground_truth": "67"}}
    )

    assert env.init([question])[0] == [question]
    first, second = env.step("66"), env.step("it is 67")

    assert (first["reward"], first["done"], first["observations"]) == (0.0, False, [question])
    assert (second["reward"], second["done"], second["observations"]) == (0.5, True, [])
    assert env.get_metrics() == {"tries": 2}


def test_the_commands_on_a_line_grade_it_as_the_page_s_function_does():
    (words,) = [words for words in commands_of("custom-reward") if words[0] == "echo"]
    line, grade = words[1], words[words.index("|") + 2 :]

    done = subprocess.run(
        [sys.executable, "-m", "tetrad_cli", *grade],
        input=line,
        cwd=EXAMPLES.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ,
    )

    assert json.loads(done.stdout)["reward"] == 0.5


def test_the_estimator_of_the_example_is_the_page_s():
    page = (EXAMPLES.parent / "docs" / "how-to" / "use-your-own-estimator-or-loss.md").read_text()
    ours, theirs = (
        next(node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == "above_median")
        for text in (
            (EXAMPLES / "custom-algorithm" / "median.py").read_text(),
            page.split("```python\n")[1].split("```")[0],
        )
    )

    assert [ast.dump(node) for node in ours.body[1:]] == [ast.dump(node) for node in theirs.body[1:]]
