"""Machine facts: GPUs, files and models, as they are here."""

from pathlib import Path

import pytest

from tetrad_config import probe_machine
from tetrad_config.machine_facts import models_loaded


def test_probing_finds_what_is_absent(load_run, tmp_path):
    (tmp_path / "here.parquet").touch()
    (tmp_path / "model").mkdir()
    config = load_run(
        "+experiment=cpu",
        f"data.train_data=[{tmp_path}/here.parquet, {tmp_path}/gone.parquet]",
        "data.val_data=null",
        f"trainer.policy.model.path={tmp_path}/model",
        f"trainer.ref.model.path={tmp_path}/nothing",
    ).config

    facts = probe_machine(config, {})

    assert facts.absent == {f"{tmp_path}/gone.parquet", f"{tmp_path}/nothing"}
    assert facts.num_cores >= 1


@pytest.mark.parametrize(
    ("is_offline", "is_cached", "is_absent"), [("0", False, False), ("1", False, True), ("1", True, False)]
)
def test_a_hub_name_is_absent_only_offline_and_uncached(load_run, tmp_path, is_offline, is_cached, is_absent):
    config = load_run(
        "trainer.policy.model.path=org/model", "data.train_data=null", "data.val_data=a", "trainer.epochs=0"
    ).config
    if is_cached:
        (tmp_path / "hub" / "models--org--model").mkdir(parents=True)

    facts = probe_machine(config, {"HF_HUB_OFFLINE": is_offline, "HF_HOME": str(tmp_path)})

    assert ("org/model" in facts.absent) is is_absent


def test_data_that_is_not_read_need_not_be_there(load_run):
    config = load_run("+experiment=gsm8k-cpu", "trainer.policy.model.path=/m", "data.val_data=/gone.parquet").config

    assert "/gone.parquet" not in probe_machine(config, {}).absent


@pytest.mark.parametrize(("visible", "count"), [(None, 2), ("", 0), ("-1", 0), ("1", 1), ("0,1", 2), ("GPU-ab12", 1)])
def test_hidden_gpus_do_not_count(load_run, tmp_path, monkeypatch, visible, count):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho NVIDIA A\necho NVIDIA B\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}

    assert len(probe_machine(load_run().config, environ).gpus) == count


def test_without_nvidia_smi_the_devices_are_counted(load_run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    assert probe_machine(load_run().config, {}).gpus == tuple("GPU" for _ in Path("/dev").glob("nvidia[0-9]*"))


def test_evaluation_alone_loads_the_policy_and_nothing_else(load_run):
    training = load_run("trainer.algorithm.use_kl_loss=true", "trainer.ref.model.path=/ref")
    evaluating = load_run("trainer.algorithm.use_kl_loss=true", "trainer.ref.model.path=/ref", "trainer.epochs=0")

    assert "trainer.ref.model.path" in models_loaded(training.config)
    assert list(models_loaded(evaluating.config)) == ["trainer.policy.model.path"]


def test_the_capability_of_gpus_is_asked_for_where_a_backend_is_named(load_run, tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\ncase $1 in *compute_cap*) echo 10.0; echo 9.0;; *) echo NVIDIA A; echo NVIDIA B;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    named = load_run("+generator.engine_init_kwargs.attention_backend=fa3", "generator.backend=sglang").config

    assert probe_machine(named, {}).capabilities == ((10, 0), (9, 0))
    assert probe_machine(named, {"CUDA_VISIBLE_DEVICES": "1"}).capabilities == ((9, 0),)
    assert probe_machine(load_run().config, {}).capabilities == ()
