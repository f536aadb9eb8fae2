"""Machine: what a file asks for and a host lacks, and the overrides that make it run."""

import dataclasses
import sys

import pytest

from tetrad_config import MachineFacts, check_machine, commands_to_run, load, overrides_to_run, probe_machine
from tetrad_config.trainer import Logger


def a_machine(*, gpus=0, has_sglang=False, absent=(), is_offline=False):
    return MachineFacts(
        num_cores=2,
        gpus=("NVIDIA A100",) * gpus,
        has_sglang=has_sglang,
        is_offline=is_offline,
        absent=frozenset(absent),
    )


def a_demo(*overrides):
    return load(["+experiment=demo", *overrides], environ={}).config


def test_the_tutorials_file_on_a_laptop_needs_one_override(load_tutorial):
    refusals = check_machine(load_tutorial().config, a_machine())

    assert [refusal.key for refusal in refusals] == ["generator.backend", "trainer.placement"]
    assert overrides_to_run(refusals) == ("+experiment=cpu",)
    assert str(refusals[1]) == (
        "trainer.placement: asks for 4 GPUs (4 ranks share them with 4 engines x 1); this machine has 0; "
        "fix: +experiment=cpu"
    )


@pytest.mark.parametrize("gpus", range(9))
@pytest.mark.parametrize(
    "asked",
    [
        [],
        ["+generator.engine_init_kwargs.max_lora_rank=8", "trainer.bf16=true"],
        ["trainer.placement.colocate_all=false"],
        ["generator.inference_engine_tensor_parallel_size=2", "generator.num_inference_engines=2"],
        ["trainer.placement.policy_num_gpus_per_node=8", "generator.num_inference_engines=8"],
    ],
)
def test_the_overrides_that_are_named_make_it_run(load_tutorial, asked, gpus):
    machine = a_machine(gpus=gpus, has_sglang=True)
    before = load_tutorial(*asked)
    refusals = check_machine(before.config, machine, origins=before.origins)

    after = load_tutorial(*asked, *overrides_to_run(refusals))

    assert check_machine(after.config, machine) == []


def test_an_engine_over_more_gpus_than_there_are_is_told_to_take_one(load_tutorial):
    asked = ("trainer.placement.colocate_all=false", "generator.inference_engine_tensor_parallel_size=4")
    config = load_tutorial(*asked).config

    (refusal,) = check_machine(config, a_machine(gpus=3, has_sglang=True))

    assert refusal.asked == "20 GPUs (4 ranks + 4 engines x 4)"
    assert "generator.inference_engine_tensor_parallel_size=1" in refusal.overrides


def test_heads_that_do_not_split_over_an_engines_gpus_are_told_with_the_number_that_does(load_tutorial):
    config = load_tutorial(
        "generator.inference_engine_tensor_parallel_size=4", "generator.num_inference_engines=1"
    ).config
    machine = dataclasses.replace(a_machine(gpus=4, has_sglang=True), heads=14)

    (refusal,) = check_machine(config, machine)

    assert "the 14 attention heads of Qwen/Qwen2.5-0.5B-Instruct do not split evenly" in str(refusal)
    assert refusal.overrides == ("generator.inference_engine_tensor_parallel_size=2",)


def test_engines_on_the_cpu_share_no_gpu():
    config = a_demo("trainer.placement.colocate_all=true")

    refusals = check_machine(config, a_machine(gpus=1))

    assert overrides_to_run(refusals) == ("trainer.placement.colocate_all=false",)
    assert "transformers computes on the CPU" in str(refusals[0])
    assert check_machine(config, a_machine()) == []


def test_missing_gsm8k_files_name_the_command_that_makes_them(load_tutorial):
    config = load_tutorial("+experiment=cpu").config
    files = {*config.data.train_data, *config.data.val_data}

    refusals = check_machine(config, a_machine(absent=files))

    assert {refusal.key for refusal in refusals} == {"data.train_data", "data.val_data"}
    assert commands_to_run(refusals) == ("tetrad data gsm8k --output-dir /home/ada/data/gsm8k",)


def test_a_missing_model_folder_is_refused_with_a_command_and_an_override(load_run):
    config = load_run("+experiment=cpu", "trainer.policy.model.path=/nowhere/model").config

    refusals = check_machine(config, a_machine(absent={"/nowhere/model"}))

    assert [refusal.key for refusal in refusals] == ["trainer.policy.model.path", "trainer.ref.model.path"]
    assert refusals[0].command.startswith("tetrad data smollm2 --output-dir ")
    assert refusals[0].overrides[0].startswith("trainer.policy.model.path=")


def test_bfloat16_without_a_gpu_is_refused(load_run):
    refusals = check_machine(load_run().config, a_machine())

    assert [refusal.key for refusal in refusals] == ["trainer.bf16", "generator.model_dtype"]
    assert overrides_to_run(refusals) == ("+experiment=cpu",)


def test_the_demo_runs_here_and_anywhere(load_run):
    config = load_run("+experiment=demo").config

    assert check_machine(config, probe_machine(config, {})) == []


def test_a_function_that_a_rank_could_not_use_is_refused_with_the_reason(load_run):
    config = load_run("+experiment=demo", "trainer.algorithm.policy_loss_type=mine:gentle").config
    machine = dataclasses.replace(a_machine(), unusable={"trainer.algorithm.policy_loss_type": "no module 'mine'"})

    (refusal,) = check_machine(config, machine)

    assert str(refusal) == "trainer.algorithm.policy_loss_type: asks for mine:gentle; no module 'mine'"


def test_a_logger_that_is_not_installed_is_refused_with_the_command_that_installs_it():
    machine = dataclasses.replace(a_machine(), missing_loggers=(Logger.MLFLOW,))

    (refusal,) = check_machine(a_demo("trainer.logger=[console, mlflow]"), machine)

    assert str(refusal) == (
        "trainer.logger: asks for mlflow; it is not installed; fix: run `pip install 'tetrad-learner[mlflow]'`"
    )


def test_the_probe_names_each_missing_logger_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)  # as Python marks what cannot be imported

    facts = probe_machine(a_demo("trainer.logger=[trackio, console, trackio]"), {})

    assert facts.missing_loggers == (Logger.TRACKIO,)


LORA = "trainer.policy.model.lora"


@pytest.mark.parametrize("key", ["target_modules", "exclude_modules"])
def test_a_name_that_no_layer_goes_by_is_refused_with_those_there_are(load_run, key):
    config = load_run("+experiment=demo", f"{LORA}.rank=8", f"{LORA}.{key}=[q_proj, qproj]").config

    (refusal,) = check_machine(config, probe_machine(config, {}))

    assert (refusal.key, refusal.asked) == (f"{LORA}.{key}", "qproj")
    assert refusal.found.endswith("are down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj")


@pytest.mark.parametrize("name", ["all-linear", "q_proj", "mlp.up_proj", "model.layers.0.self_attn.q_proj"])
def test_a_name_that_finds_a_layer_is_accepted(load_run, name):
    config = load_run("+experiment=demo", f"{LORA}.rank=8", f"{LORA}.target_modules=[{name}]").config

    assert check_machine(config, probe_machine(config, {})) == []


def test_the_layers_of_a_model_that_is_not_here_are_not_judged(load_run):
    config = load_run("+experiment=cpu", f"{LORA}.rank=8", f"{LORA}.target_modules=[qproj]").config

    facts = probe_machine(config, {})

    assert facts.layers is None
    assert not [refusal for refusal in check_machine(config, facts) if refusal.key.startswith(LORA)]
