"""Promises of the entry point, from outside."""

import os
import subprocess
import sys

import pytest

from tetrad_config import RunConfig, dump_resolved
from tetrad_runtime.exits import ExitCode

pytestmark = pytest.mark.timeout(60)

PROGRAM = [sys.executable, "-m", "tetrad_broadcaster"]


def ask(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TETRAD_")}
    return subprocess.run(
        [*PROGRAM, *words], env=environment | variables, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "config.yaml").write_text(dump_resolved(RunConfig()))
    return {
        "TETRAD_RUN_DIR": str(tmp_path),
        "TETRAD_COORDINATOR": f"ipc://{tmp_path}/c",
        "TETRAD_BIND": f"ipc://{tmp_path}/b",
    }


def test_help_names_every_setting():
    asked = ask("--help")

    assert asked.returncode == ExitCode.OK
    assert "TETRAD_COORDINATOR" in asked.stdout


def test_show_config_prints_what_was_understood(settings):
    asked = ask("--show-config", "--name", "b-1", **settings)

    assert asked.returncode == ExitCode.OK
    assert "b-1" in asked.stdout


def test_check_probes_shared_memory_and_leaves_nothing(settings):
    asked = ask("--check", **settings)

    assert (asked.returncode, asked.stderr) == (ExitCode.OK, "")
    assert asked.stdout.startswith("ok: ipc://")
    assert not [name for name in os.listdir("/dev/shm") if name.startswith("tetrad.check.")]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"TETRAD_BIND": ""}, "bind"),
        ({"TETRAD_BIDN": "x"}, "TETRAD_BIDN"),
        ({"TETRAD_RUN_DIR": "/nowhere"}, "cannot be read"),
        ({"TETRAD_BIND": "tcp://127.0.0.1:5555"}, "clear TCP"),
    ],
)
def test_check_says_what_is_wrong_and_that_it_is_the_configuration(settings, changes, complaint):
    asked = ask("--check", **settings | changes)

    assert asked.returncode == ExitCode.CONFIG
    assert complaint in asked.stdout + asked.stderr


def test_an_endpoint_that_is_taken_is_the_machine_s_fault(settings, tmp_path):
    asked = ask(**settings | {"TETRAD_BIND": f"ipc://{tmp_path}/missing/b"})

    assert asked.returncode == ExitCode.ENVIRONMENT
    assert "cannot bind" in asked.stderr


def test_the_service_needs_neither_torch_nor_zmq_to_explain_itself():
    code = (
        "import sys; from tetrad_broadcaster.__main__ import main; main(['--help']);"
        "sys.exit(int(any(name in sys.modules for name in ('torch', 'transformers', 'zmq'))))"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=False).returncode == 0
