"""Each check says what there is and, where something is short, what to do about it."""

import json
from types import SimpleNamespace

import pytest

from tetrad_cli.doctor import (
    chat_template,
    disk,
    driver,
    gpus,
    interpreter,
    keys,
    nccl,
    open_files,
    ports,
    sglang,
    shared_memory,
    torch_build,
)
from tetrad_cli.doctor.checks import CHECKS, examine
from tetrad_cli.doctor.finding import Finding, Patient, Verdict
from tetrad_cli.doctor.installed import pinned_by, version_of

SUBJECTS = {
    "python",
    "pyzmq",
    "tetrad-learner",
    "torch",
    "gpus",
    "driver",
    "nccl",
    "sglang",
    "flashinfer-python",
    "cores",
    "memory",
    "shared memory",
    "disk",
    "ports",
    "sockets",
    "open files",
    "keys",
    "chat template",
}


def only(findings):
    (finding,) = findings
    return finding


def test_everything_is_looked_at_once(tmp_path):
    found = [finding.subject for finding in examine(Patient(environ={}, outputs=tmp_path))]

    assert set(found) >= SUBJECTS
    assert len(found) == len(set(found))


def test_a_check_that_breaks_is_told_and_the_others_go_on(monkeypatch):
    def broken(_patient):
        raise RuntimeError("no /proc")

    monkeypatch.setattr("tetrad_cli.doctor.checks.CHECKS", (broken, interpreter.check))

    first, second = examine(Patient())

    assert (first.verdict, first.detail) == (Verdict.NOTE, "could not be looked at: RuntimeError: no /proc")
    assert second.subject == "python"


def test_an_old_python_is_refused(monkeypatch):
    monkeypatch.setattr(interpreter, "MIN_PYTHON", (9, 0))

    assert only(interpreter.check(Patient())).fix.startswith("install Python 9.0")


def test_torch_without_cuda_beside_gpus_is_refused(monkeypatch):
    monkeypatch.setattr(torch_build, "installed_build", lambda: torch_build.Build("2.13.0+cpu", None))
    monkeypatch.setattr(torch_build, "gpu_names", lambda: ["H200", "H200"])

    finding = only(torch_build.check(Patient()))

    assert (finding.verdict, finding.detail) == (Verdict.BAD, "2.13.0+cpu, built without CUDA, beside 2 GPUs")
    assert "TORCH_BACKEND=auto" in finding.fix


def test_the_build_of_torch_is_known_without_importing_it():
    build = torch_build.installed_build()

    assert build is not None
    assert build.version == version_of("torch")


@pytest.fixture
def devices(tmp_path):
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "information").write_text("Model: \t NVIDIA H200\nIRQ: 1\n")
    return tmp_path


def test_gpus_are_counted_by_model(devices):
    assert only(gpus.check(Patient(), devices)).detail == "2 × NVIDIA H200"


def test_hidden_gpus_are_noted(devices):
    finding = only(gpus.check(Patient(environ={"CUDA_VISIBLE_DEVICES": "-1"}), devices))

    assert (finding.verdict, finding.fix) == (Verdict.NOTE, "unset CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(
    ("branch", "cuda", "verdict"),
    [("580.65.06", "13.0", Verdict.GOOD), ("550.54", "13.0", Verdict.BAD), ("550.54", "12.8", Verdict.GOOD)],
)
def test_a_driver_that_is_too_old_for_torch_is_refused(tmp_path, monkeypatch, branch, cuda, verdict):
    file = tmp_path / "version"
    file.write_text(f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {branch}  Release Build\n")
    monkeypatch.setattr(driver, "installed_build", lambda: torch_build.Build("2", cuda))

    assert only(driver.check(Patient(), file)).verdict is verdict


def test_without_a_driver_there_is_a_note(tmp_path):
    assert only(driver.check(Patient(), tmp_path / "none")).verdict is Verdict.NOTE


def test_the_pinned_version_of_sglang_is_that_of_the_rollout_service():
    assert pinned_by("tetrad-rollout", "sglang") == "0.5.15.post1"
    assert pinned_by("tetrad-rollout", "nothing") is None
    assert pinned_by("nothing", "sglang") is None


@pytest.mark.parametrize(
    ("packages", "cuda", "verdict", "words"),
    [
        ({"nvidia-nccl-cu13": "2.28.9"}, "13.0", Verdict.GOOD, "nvidia-nccl-cu13 2.28.9"),
        ({"nvidia-nccl-cu12": "2.27.5"}, "13.0", Verdict.BAD, "torch is for CUDA 13 and loads nvidia-nccl-cu13"),
        ({"nvidia-nccl-cu12": "2", "nvidia-nccl-cu13": "2"}, "12.8", Verdict.BAD, "one writes over the other"),
        ({"nvidia-nccl-cu12": "2.27.5"}, None, Verdict.NOTE, "no torch for CUDA uses it"),
        ({}, "13.0", Verdict.NOTE, "not installed"),
    ],
)
def test_nccl_is_compared_with_the_cuda_of_torch(monkeypatch, packages, cuda, verdict, words):
    monkeypatch.setattr(nccl, "version_of", packages.get)
    monkeypatch.setattr(nccl, "installed_build", lambda: torch_build.Build("2", cuda))

    finding = only(nccl.check(Patient()))

    assert (finding.verdict, words in finding.detail) == (verdict, True)


@pytest.mark.parametrize(
    ("found", "num_gpus", "verdict"),
    [
        ("0.5.15.post1", 1, Verdict.GOOD),
        ("0.5.15+cpu", 0, Verdict.GOOD),
        ("0.6.0", 1, Verdict.BAD),
        ("0.6.0", 0, Verdict.NOTE),
        (None, 1, Verdict.NOTE),
    ],
)
def test_sglang_is_compared_with_the_tested_version(monkeypatch, found, num_gpus, verdict):
    monkeypatch.setattr(sglang, "version_of", lambda _name: found)

    finding = sglang.pinned_finding("sglang", gpus=num_gpus)

    assert finding.verdict is verdict
    assert (finding.fix == "") is (verdict is Verdict.GOOD)


def test_little_shared_memory_is_refused_with_the_container_s_flag(monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _place: SimpleNamespace(free=1 << 20))

    finding = only(shared_memory.check(Patient()))

    assert finding.verdict is Verdict.BAD
    assert "--shm-size" in finding.fix


def test_the_shared_memory_of_a_model_is_four_times_its_weights(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "model.safetensors").open("r+b").truncate(1 << 30)
    monkeypatch.setattr("shutil.disk_usage", lambda _place: SimpleNamespace(free=3 << 30))

    finding = only(shared_memory.check(Patient(model=str(tmp_path))))

    assert (finding.verdict, finding.detail[:13]) == (Verdict.BAD, "3.00 GiB free")


def test_a_full_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _place: SimpleNamespace(free=1 << 20))

    assert "trainer.max_ckpts_to_keep" in only(disk.check(Patient(outputs=tmp_path / "outputs"))).fix


def test_few_ports_are_noted(tmp_path):
    (tmp_path / "range").write_text("40000\t40100\n")

    first, _sockets = ports.check(Patient(), tmp_path / "range")

    assert (first.verdict, first.detail) == (Verdict.NOTE, "101 to choose from, 40000 to 40100")


@pytest.mark.parametrize(("soft", "verdict"), [(512, Verdict.BAD), (1024, Verdict.NOTE), (65536, Verdict.GOOD)])
def test_the_limit_of_open_files_is_judged(monkeypatch, soft, verdict):
    monkeypatch.setattr("resource.getrlimit", lambda _which: (soft, 1 << 20))

    finding = only(open_files.check(Patient()))

    assert finding.verdict is verdict
    assert finding.fix in ("", "ulimit -n 65536")


def test_keys_that_were_asked_for_and_are_not_there_are_missing(tmp_path):
    found = only(keys.check(Patient(environ={"TETRAD_KEYS": str(tmp_path)})))

    assert found.verdict is Verdict.BAD
    assert found.fix
    assert only(keys.check(Patient())).verdict is Verdict.NOTE


@pytest.mark.parametrize(
    ("name", "text", "verdict"),
    [
        ("chat_template.jinja", "{{ messages }}", Verdict.GOOD),
        ("tokenizer_config.json", json.dumps({"chat_template": "{{ messages }}"}), Verdict.GOOD),
        ("tokenizer_config.json", "{}", Verdict.BAD),
        ("tokenizer_config.json", "not json", Verdict.BAD),
    ],
)
def test_a_model_without_a_chat_template_is_refused(tmp_path, name, text, verdict):
    (tmp_path / name).write_text(text)

    finding = only(chat_template.check(Patient(model=str(tmp_path))))

    assert finding.verdict is verdict


def test_a_model_that_is_not_here_is_not_looked_at():
    assert only(chat_template.check(Patient(model="Qwen/Qwen2.5-0.5B"))).verdict is Verdict.NOTE


def test_each_check_has_a_module_of_its_own():
    modules = [check.__module__ for check in CHECKS]

    assert len(modules) == len(set(modules))
    assert all(isinstance(finding, Finding) for check in CHECKS for finding in check(Patient()))
