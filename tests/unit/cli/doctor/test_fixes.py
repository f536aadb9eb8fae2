"""Every check is shown what it looks for, and has to say what to do about it in words that fit a clone."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tetrad_cli.doctor import (
    chat_template,
    cores,
    disk,
    driver,
    flashinfer,
    gpus,
    interpreter,
    keys,
    memory,
    nccl,
    open_files,
    packages,
    parity,
    ports,
    sglang,
    shared_memory,
    torch_build,
)
from tetrad_cli.doctor.checks import CHECKS
from tetrad_cli.doctor.finding import Patient, Verdict

ROOT = Path(__file__).parents[4]
FULL = SimpleNamespace(free=1 << 20)


class Ward:
    """A machine on which one thing is wrong."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.set = monkeypatch.setattr

    def file(self, name, text=""):
        (self.folder / name).write_text(text)
        return self.folder / name

    def with_gpus(self, module):
        self.set(module, "gpu_names", lambda: ["NVIDIA H200"])

    def with_cuda(self, module, cuda):
        self.set(module, "installed_build", lambda: torch_build.Build("2.13.0", cuda))


def an_old_python(ward):
    ward.set(interpreter, "MIN_PYTHON", (9, 0))
    return interpreter.check(Patient())


def no_packages(ward):
    ward.set(packages, "version_of", lambda _name: None)
    return packages.check(Patient())


def torch_for_cpus(ward):
    ward.with_gpus(torch_build)
    ward.with_cuda(torch_build, None)
    return torch_build.check(Patient())


def no_torch(ward):
    ward.set(torch_build, "installed_build", lambda: None)
    return torch_build.check(Patient())


def no_gpus(ward):
    return gpus.check(Patient(), ward.folder)


def an_old_driver(ward):
    ward.with_cuda(driver, "13.0")
    return driver.check(Patient(), ward.file("version", "NVRM version: NVIDIA UNIX Open Kernel Module  550.54  x\n"))


def nccl_of_another_cuda(ward):
    ward.with_cuda(nccl, "13.0")
    ward.set(nccl, "version_of", {"nvidia-nccl-cu12": "2.27.5"}.get)
    return nccl.check(Patient())


def an_interpreter_that_is_none(ward):
    return parity.check(Patient(environ=dict(os.environ), pythons=(ward.folder / "python",)))


def two_environments(ward):
    other = ward.file("python", f'#!{sys.executable}\nprint(\'{{"torch": "1.0"}}\')\n')
    other.chmod(0o755)
    return parity.check(Patient(environ=dict(os.environ), pythons=(other,)))


def another_sglang(ward):
    ward.with_gpus(sglang)
    ward.set(sglang, "version_of", lambda _name: "0.6.0")
    return sglang.check(Patient())


def another_flashinfer(ward):
    ward.with_gpus(flashinfer)
    ward.set(sglang, "version_of", lambda _name: "0.0.1")
    ward.set(sglang, "pinned_by", lambda _distribution, _name: "0.6.14")
    return flashinfer.check(Patient())


def flashinfer_without_a_compiler(ward):
    ward.with_gpus(flashinfer)
    ward.set(sglang, "version_of", lambda _name: "0.6.14")
    ward.set(sglang, "pinned_by", lambda _distribution, _name: "0.6.14")
    ward.set("shutil.which", lambda _tool: None)
    return flashinfer.check(Patient())


def one_core(ward):
    ward.set("os.sched_getaffinity", lambda _pid: {0})
    return cores.check(Patient())


def little_memory(ward):
    ward.set(memory, "host_memory", lambda: SimpleNamespace(total=4 << 30, free=1 << 30))
    return memory.check(Patient())


def little_shared_memory(ward):
    ward.set("shutil.disk_usage", lambda _place: FULL)
    return shared_memory.check(Patient())


def no_shared_memory(ward):
    return shared_memory.check(Patient(), ward.folder / "shm")


def a_full_disk(ward):
    ward.set("shutil.disk_usage", lambda _place: FULL)
    return disk.check(Patient(outputs=ward.folder))


def somebody_elses_disk(ward):
    ward.set("os.access", lambda _place, _mode: False)
    return disk.check(Patient(outputs=ward.folder))


def no_loopback(ward):
    class Refusing:
        def __enter__(self):
            return self

        def __exit__(self, *_error):
            return None

        def bind(self, _address):
            raise OSError(99, "Cannot assign requested address")

    ward.set("socket.socket", Refusing)
    return [next(ports.check(Patient()))]


def somebody_elses_sockets(ward):
    ward.set("os.access", lambda _place, _mode: False)
    return ports.check(Patient())


def few_open_files(ward):
    ward.set("resource.getrlimit", lambda _which: (512, 1 << 20))
    return open_files.check(Patient())


def keys_that_are_not_there(ward):
    return keys.check(Patient(environ={"TETRAD_KEYS": str(ward.folder / "none")}))


def a_base_model(ward):
    ward.file("tokenizer_config.json", "{}")
    return chat_template.check(Patient(model=str(ward.folder)))


BAD, NOTE = Verdict.BAD, Verdict.NOTE
# What is wrong → what it means, and words of the fix.
PROVOCATIONS = {
    an_old_python: (BAD, "make setup PYTHON="),
    no_packages: (BAD, "make setup"),
    torch_for_cpus: (BAD, "make setup TORCH_BACKEND=auto"),
    no_torch: (NOTE, "make setup"),
    no_gpus: (NOTE, "+experiment=cpu"),
    an_old_driver: (BAD, "install driver 580"),
    nccl_of_another_cuda: (BAD, "make setup TORCH_BACKEND=auto"),
    an_interpreter_that_is_none: (BAD, "name an interpreter"),
    two_environments: (BAD, "install the same release in both"),
    another_sglang: (BAD, "docs/how-to/run-on-a-gpu.md"),
    another_flashinfer: (BAD, "docs/how-to/run-on-a-gpu.md"),
    flashinfer_without_a_compiler: (NOTE, "ninja"),
    one_core: (NOTE, "give it 2"),
    little_memory: (BAD, "end other programs"),
    little_shared_memory: (BAD, "--shm-size"),
    no_shared_memory: (BAD, "--shm-size"),
    a_full_disk: (BAD, "trainer.max_ckpts_to_keep"),
    somebody_elses_disk: (BAD, "trainer.run_dir"),
    no_loopback: (BAD, "ip link set lo up"),
    somebody_elses_sockets: (BAD, "XDG_RUNTIME_DIR"),
    few_open_files: (BAD, "ulimit -n"),
    keys_that_are_not_there: (BAD, "tetrad keys"),
    a_base_model: (BAD, "chat_template.jinja"),
}


@pytest.fixture
def ward(tmp_path, monkeypatch):
    return Ward(tmp_path, monkeypatch)


@pytest.mark.parametrize("provocation", PROVOCATIONS, ids=lambda one: one.__name__)
def test_what_is_wrong_is_found_and_has_a_fix(ward, provocation):
    verdict, words = PROVOCATIONS[provocation]

    findings = list(provocation(ward))

    worst = [finding for finding in findings if finding.verdict is verdict]
    assert worst
    assert any(words in finding.fix for finding in worst)
    assert all(finding.fix for finding in findings if finding.verdict is not Verdict.GOOD)


def test_every_check_is_provoked():
    provoked = {name for provocation in PROVOCATIONS for name in provocation.__code__.co_names}

    assert {check.__module__.rpartition(".")[2] for check in CHECKS} <= provoked


def test_no_fix_installs_from_an_index_what_is_on_none(ward):
    for provocation in (no_packages, no_torch, another_sglang, another_flashinfer):
        for finding in provocation(ward):
            assert "pip install tetrad" not in finding.fix
            assert "pip install 'tetrad" not in finding.fix


def test_the_recipe_for_sglang_is_that_of_the_page():
    page = (ROOT / "docs/how-to/run-on-a-gpu.md").read_text()

    for words in (".venv/bin/uv pip install --python .venv-gpu/bin/python", "services/rollout[sglang]"):
        assert words in page
        assert words in sglang.INSTALL_SGLANG
