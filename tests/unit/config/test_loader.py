"""Loading: the tutorial's file as it is, precedence, and all errors at once."""

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tetrad_config import ConfigError, MachineFacts, OriginKind, check_machine, load, plan, render
from tetrad_config.run_file import read_yaml
from tetrad_config.tree import leaves

from .conftest import DATA, ENVIRON

TUTORIAL_SHA256 = "a6d72c86dc5558987eee547eaeb71826e4fe253db2fe5dc32741c1eb4a5b09a3"


def test_the_tutorials_file_is_kept_byte_for_byte():
    content = (DATA / "my_training_config.yaml").read_bytes()

    assert hashlib.sha256(content).hexdigest() == TUTORIAL_SHA256


def test_the_tutorials_file_loads_with_the_values_it_states(load_tutorial):
    config = load_tutorial().config

    assert config.data.train_data == ("/home/ada/data/gsm8k/train.parquet",)
    assert config.data.val_data == ("/home/ada/data/gsm8k/validation.parquet",)
    assert config.trainer.strategy == "fsdp2"
    assert config.trainer.placement.colocate_all
    assert config.trainer.placement.num_ranks == 4
    assert config.trainer.policy.model.path == config.trainer.ref.model.path == "Qwen/Qwen2.5-0.5B-Instruct"
    assert config.trainer.policy.optimizer_config.lr == 1e-6
    assert config.trainer.policy.optimizer_config.max_grad_norm == 1.0
    assert config.trainer.algorithm.advantage_estimator == "grpo"
    assert config.trainer.algorithm.use_kl_loss
    assert config.trainer.algorithm.kl_loss_coef == 0.001
    assert (config.trainer.epochs, config.trainer.train_batch_size) == (10, 256)
    assert (config.trainer.policy_mini_batch_size, config.trainer.micro_train_batch_size_per_gpu) == (64, 8)
    assert config.trainer.update_epochs_per_batch == 1
    assert (config.trainer.eval_before_train, config.trainer.eval_interval) == (True, 5)
    assert (config.trainer.eval_batch_size, config.trainer.ckpt_interval) == (256, 10)
    assert config.trainer.ckpt_path == Path("/home/ada/ckpts")
    assert config.trainer.logger == ("tensorboard",)
    assert (config.trainer.project_name, config.trainer.run_name) == ("gsm8k-tutorial", "sglang-grpo")
    assert config.trainer.run_dir == Path("outputs/sglang-grpo")
    assert config.trainer.max_prompt_length == config.generator.max_input_length == 512
    assert config.generator.backend == "sglang"
    assert (config.generator.num_inference_engines, config.generator.gpus_per_engine) == (4, 1)
    assert config.generator.gpu_memory_utilization == 0.8
    assert config.generator.enable_prefix_caching
    assert config.generator.batched
    assert config.generator.weight_sync_backend == "nccl"
    assert (config.generator.sampling_params.max_generate_length, config.generator.sampling_params.top_p) == (1024, 1.0)
    assert config.generator.sampling_params.temperature == 1.0
    assert config.generator.eval_sampling_params.max_generate_length == 1024
    assert config.generator.eval_sampling_params.temperature == 0.0
    assert config.generator.n_samples_per_prompt == 4
    assert config.generator.engine_init_kwargs == {"attention_backend": "flashinfer"}
    assert config.environment.env_class == "gsm8k"


def test_every_key_of_the_tutorials_file_is_taken_from_it(load_tutorial):
    loaded = load_tutorial()

    written = {key for key, _ in leaves(read_yaml(DATA / "my_training_config.yaml"))} - {"defaults"}
    taken = {key for key, origin in loaded.origins.items() if origin.kind is OriginKind.FILE}
    assert taken == written - {"trainer.ckpt_dir"} | {"trainer.ckpt_path"}
    assert "trainer.ckpt_dir is an alias of trainer.ckpt_path (my_training_config.yaml)" in loaded.notices


def test_the_cpu_preset_turns_the_tutorials_file_into_a_run_without_gpus(load_tutorial):
    config = load_tutorial("+experiment=cpu").config

    assert config.generator.backend == "transformers"
    assert not config.trainer.placement.colocate_all
    assert config.trainer.placement.num_ranks == config.generator.num_inference_engines == 1
    assert config.generator.engine_init_kwargs == {}
    assert config.generator.model_dtype == "float32"
    assert not config.trainer.bf16
    assert config.trainer.train_batch_size == 256


def test_keys_without_effect_are_announced(load_tutorial):
    notices = load_tutorial("+experiment=cpu").notices

    assert any(
        notice.startswith("no effect with generator.backend=transformers: ")
        and {"generator.gpu_memory_utilization", "generator.batched"} <= set(notice.partition(": ")[2].split(", "))
        for notice in notices
    )
    assert "no effect with trainer.logger=tensorboard: trainer.project_name" in notices


def test_the_tutorials_evaluation_command_loads(load_tutorial, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")

    config = load_tutorial(
        "trainer.policy.model.path=~/ckpts/global_step_50", "trainer.epochs=0", "trainer.eval_before_train=true"
    ).config

    assert config.trainer.policy.model.path == config.generator.model_name == "/home/ada/ckpts/global_step_50"
    assert config.trainer.epochs == 0


def test_the_tutorials_preset_command_loads_and_says_that_it_is_gsm8k(load_run):
    loaded = load_run(
        "+experiment=grpo_qwen2.5-0.5b_math500",
        "generator.backend=sglang",
        "+generator.engine_init_kwargs.attention_backend=flashinfer",
        "trainer.epochs=10",
        "trainer.logger=tensorboard",
    )

    assert loaded.config.generator.engine_init_kwargs == {"attention_backend": "flashinfer"}
    assert loaded.config.environment.env_class == "gsm8k"
    assert any("alias of gsm8k-grpo" in notice and "GSM8K" in notice for notice in loaded.notices)


def test_the_faithful_preset_is_the_tutorials_file(load_run, load_tutorial):
    assert load_run("+experiment=faithful").config == load_tutorial().config


@pytest.mark.parametrize("name", ["faithful", "fast", "lora", "ppo-gae", "rloo", "multi-gpu", "one-gpu"])
def test_a_preset_for_gpus_is_planned_and_fits_as_many_as_it_asks_for(load_run, name):
    config = load_run(f"+experiment={name}").config
    asked = config.trainer.placement.num_ranks
    machine = MachineFacts(
        num_cores=8, gpus=("NVIDIA A100",) * asked, has_sglang=True, is_offline=False, absent=frozenset()
    )

    planned = plan(config, 7_473, parameters=494_032_768)

    assert check_machine(config, machine) == []
    assert check_machine(config, dataclasses.replace(machine, gpus=machine.gpus[1:])) != []
    assert "29 per epoch, 10 epochs, 290 in all" in render(planned)


def test_eight_gpus_need_two_overrides_and_the_reference_follows(load_tutorial):
    loaded = load_tutorial("trainer.placement.policy_num_gpus_per_node=8", "generator.num_inference_engines=8")

    assert loaded.config.trainer.placement.ref_num_gpus_per_node == 8
    assert any("ref_num_gpus_per_node=4 gives way to" in notice for notice in loaded.notices)


def test_in_a_file_the_policys_number_leads_and_the_others_are_announced(load_run):
    text = (
        "trainer:\n  placement: {policy_num_gpus_per_node: 8, ref_num_gpus_per_node: 4, critic_num_gpus_per_node: 4}\n"
    )

    loaded = load_run("generator.num_inference_engines=8", text=text)

    placement = loaded.config.trainer.placement
    assert (placement.ref_num_gpus_per_node, placement.critic_num_gpus_per_node) == (8, 8)
    assert sum("=4 gives way to" in notice for notice in loaded.notices) == 2


@pytest.mark.parametrize("model", ["ref", "critic"])
def test_another_number_of_ranks_for_reference_or_critic_is_refused_with_both_keys(load_tutorial, model):
    with pytest.raises(ConfigError) as caught:
        load_tutorial(f"trainer.placement.{model}_num_gpus_per_node=2")

    (problem,) = [str(problem) for problem in caught.value.problems]
    assert problem.startswith(f"trainer.placement.{model}_num_gpus_per_node: 2 is not")
    assert "trainer.placement.policy_num_gpus_per_node=4" in problem


SPLIT_ENGINES = (
    "trainer:\n  placement: {colocate_all: true, policy_num_gpus_per_node: 4}\n"
    "generator: {backend: sglang, num_inference_engines: 4, inference_engine_tensor_parallel_size: 2}\n"
)


def test_in_a_file_split_engines_are_as_many_as_fit_on_the_gpus_that_they_share(load_run):
    loaded = load_run(text=SPLIT_ENGINES)

    assert loaded.config.generator.num_inference_engines == 2
    assert any("num_inference_engines=4 gives way to" in notice for notice in loaded.notices)


def test_a_number_of_engines_on_the_command_line_does_not_give_way(load_run):
    with pytest.raises(ConfigError, match="4 ranks are not 4 engines x 2 GPUs"):
        load_run("generator.num_inference_engines=4", text=SPLIT_ENGINES)


def test_reference_and_critic_take_the_policys_ranks_unless_set(load_run):
    placement = load_run("trainer.placement.policy_num_gpus_per_node=2").config.trainer.placement

    assert (placement.ref_num_gpus_per_node, placement.critic_num_gpus_per_node) == (2, 2)


def test_the_tutorials_memory_and_timeout_advice_is_honoured(load_tutorial):
    config = load_tutorial(
        "generator.gpu_memory_utilization=0.6",
        "generator.max_num_seqs=256",
        "trainer.micro_train_batch_size_per_gpu=4",
        "generator.weight_sync_timeout=120",
        "generator.inference_engine_tensor_parallel_size=2",
        "generator.num_inference_engines=2",
    ).config

    assert config.generator.weight_sync_timeout == 120.0
    assert config.generator.inference_engine_tensor_parallel_size == 2


def test_command_line_beats_environment_beats_preset_beats_file_beats_default(load_run):
    text = "trainer: {seed: 1, run_name: from-file, project_name: p}\ngenerator: {backend: fake}"

    everywhere = load_run("+experiment=cpu", "trainer.seed=3", text=text, TETRAD_TRAINER__SEED="2")
    environment = load_run("+experiment=cpu", text=text, TETRAD_TRAINER__SEED="2")
    beaten_preset = load_run("+experiment=cpu", text=text, TETRAD_GENERATOR__BACKEND="fake")

    assert everywhere.config.trainer.seed == 3
    assert environment.config.trainer.seed == 2
    assert environment.config.generator.backend == "transformers"
    assert beaten_preset.config.generator.backend == "fake"
    assert environment.config.trainer.run_name == "from-file"


def test_the_command_line_beats_a_preset_wherever_it_stands(load_run):
    config = load_run("generator.backend=fake", "+experiment=cpu").config

    assert config.generator.backend == "fake"


def test_presets_stack_in_order(load_run, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "short.yaml").write_text("trainer: {max_steps: 7, seed: 9}")
    (tmp_path / "experiment" / "seeded.yaml").write_text("trainer: {seed: 11}")

    config = load_run("+experiment=short", "+experiment=seeded", text="{}").config

    assert (config.trainer.max_steps, config.trainer.seed) == (7, 11)


def test_origins_name_the_source_of_every_value(load_run):
    loaded = load_run("+experiment=cpu", "trainer.seed=3", text="trainer: {run_name: x}", TETRAD_TRAINER__EPOCHS="2")

    origin = {key: str(value) for key, value in loaded.origins.items()}
    assert origin["trainer.seed"] == "command line"
    assert origin["trainer.epochs"] == "TETRAD_TRAINER__EPOCHS"
    assert origin["generator.backend"] == "preset cpu"
    assert origin["trainer.run_name"] == "run.yaml"
    assert origin["trainer.run_dir"] == "from trainer.run_name"
    assert origin["trainer.ckpt_interval"] == "default"


def test_all_problems_are_reported_at_once(problems_of):
    problems = problems_of(
        "trainer.epoch=3",
        "trainer.seed=-1",
        "nonsense",
        "generator.backend=sglan",
        text="trainer: {train_batch_siz: 3}",
        TETRAD_TRAINR__EPOCHS="2",
    )

    assert problems == [
        "nonsense: is not an override; write key=value, +key=value, ~key or +experiment=NAME",
        "TETRAD_TRAINR__EPOCHS: unknown variable; did you mean TETRAD_TRAINER__EPOCHS?",
        "trainer.seed: -1 is less than the limit 0 (command line)",
        "trainer.train_batch_siz: unknown key; did you mean trainer.train_batch_size? (run.yaml)",
        "trainer.epoch: unknown key; did you mean trainer.epochs? (command line)",
        'generator.backend: "sglan" is none of sglang, transformers, fake; did you mean sglang? (command line)',
    ]


def test_a_derived_value_is_not_blamed_for_its_source(problems_of):
    problems = problems_of("trainer.run_name=yes")

    assert len(problems) == 1


def test_a_deleted_key_takes_its_default(load_tutorial):
    config = load_tutorial("~generator.engine_init_kwargs", "~trainer.epochs").config

    assert config.generator.engine_init_kwargs == {}
    assert config.trainer.epochs == 1


def test_one_entry_of_a_free_form_key_can_be_deleted(load_tutorial):
    config = load_tutorial("~generator.engine_init_kwargs.attention_backend").config

    assert config.generator.engine_init_kwargs == {}


def test_deleting_an_unknown_key_is_an_error(problems_of):
    assert problems_of("~trainer.epoch") == ["~trainer.epoch: unknown key; did you mean ~trainer.epochs?"]


def test_an_alias_in_the_file_and_the_key_on_the_command_line_are_one_key(load_tutorial):
    config = load_tutorial("trainer.ckpt_path=/tmp/other").config

    assert config.trainer.ckpt_path == Path("/tmp/other")


def test_a_preset_that_needs_a_value_says_which(problems_of):
    assert problems_of("+experiment=gsm8k-cpu") == [
        "trainer.policy.model.path: must be given; write trainer.policy.model.path=VALUE"
    ]


def test_gsm8k_on_cpu_is_three_small_steps(load_run):
    config = load_run("+experiment=gsm8k-cpu", "trainer.policy.model.path=/models/smollm2").config

    assert (config.trainer.max_steps, config.trainer.train_batch_size) == (3, 8)
    assert (config.generator.n_samples_per_prompt, config.generator.sampling_params.max_generate_length) == (4, 64)


def test_the_demo_is_the_measured_configuration(load_run):
    config = load_run("+experiment=demo", "trainer.seed=7").config

    optimizer, algorithm = config.trainer.policy.optimizer_config, config.trainer.algorithm
    assert (config.trainer.max_steps, config.trainer.train_batch_size) == (120, 32)
    assert config.trainer.policy_mini_batch_size == 32
    assert config.generator.n_samples_per_prompt == 8
    assert (optimizer.lr, optimizer.adam_betas, optimizer.weight_decay) == (3e-4, (0.9, 0.999), 0.01)
    assert (optimizer.num_warmup_steps, optimizer.max_grad_norm) == (0, 1.0)
    assert (algorithm.eps_clip_low, algorithm.eps_clip_high, algorithm.use_kl_loss) == (0.2, 0.2, False)
    assert (algorithm.grpo_norm_by_std, algorithm.grpo_std_epsilon) == (True, 1e-6)
    assert config.generator.sampling_params.max_generate_length == 4
    assert config.generator.eval_sampling_params.max_generate_length == 4
    assert (config.trainer.eval_sampled_n, config.trainer.ckpt_interval) == (4, 40)
    assert (config.trainer.resume_mode, config.trainer.overwrite) == ("none", True)
    assert Path(config.trainer.policy.model.path).is_dir()
    assert all(Path(file).is_file() for file in (*config.data.train_data, *config.data.val_data))
    assert config.environment.env_class == "arithmetic"
    assert config.trainer.seed == 7


def test_interpolations_may_name_keys_that_nothing_sets(load_run):
    config = load_run("trainer.run_name=s${trainer.seed}").config

    assert config.trainer.run_name == "s42"
    assert config.trainer.run_dir == Path("outputs/s42")


def test_a_config_is_frozen(load_run):
    config = load_run().config

    with pytest.raises(ValueError, match="frozen"):
        config.trainer.seed = 3


def test_the_config_path_is_relative_to_the_working_directory(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "a.yaml").write_text("trainer: {seed: 5}")

    by_name = load([], config_path="configs", config_name="a", environ=ENVIRON, cwd=tmp_path)
    by_file = load([], config_path="configs/a.yaml", environ=ENVIRON, cwd=tmp_path)

    assert by_name.config.trainer.seed == by_file.config.trainer.seed == 5


def test_a_missing_run_file_is_named_with_a_suggestion(tmp_path):
    (tmp_path / "my_training_config.yaml").write_text("{}")

    with pytest.raises(ConfigError, match=r"no such run file; did you mean my_training_config\?"):
        load([], config_path=".", config_name="my_trainig_config", environ=ENVIRON, cwd=tmp_path)


def test_importing_and_loading_needs_neither_torch_nor_pyarrow():
    program = (
        "import os, sys, tetrad_config as c; loaded = c.load(['+experiment=demo'], environ=os.environ);"
        "c.render(c.plan(loaded.config, 900));"
        "c.check_machine(loaded.config, c.probe_machine(loaded.config, os.environ));"
        "print([m for m in ('torch', 'transformers', 'pyarrow', 'sglang', 'numpy') if m in sys.modules])"
    )

    printed = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("TETRAD_")},
    ).stdout

    assert printed.strip() == "[]"
