"""Every service answers `--help`, `--show-config` and `--check` alike, and without loading what it computes with."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tetrad_config import dump_resolved, load
from tetrad_runtime.exits import ExitCode

pytestmark = pytest.mark.timeout(120)

SERVICES = ("learner", "rollout", "reward", "broadcaster")
PROGRAM = """
import sys
from tetrad_{service}.{module} import main
try:
    code = main(sys.argv[1:])
finally:
    print("heavy:", sorted({{"torch", "transformers"}} & set(sys.modules)))
sys.exit(code)
"""


def ask(service: str, *words: str, module: str = "__main__", **variables: str) -> "subprocess.CompletedProcess[str]":
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TETRAD_")}
    command = [sys.executable, "-c", PROGRAM.format(service=service, module=module), *words]
    return subprocess.run(
        command,
        env=environ | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def write_run(folder: Path, *overrides: str) -> None:
    config = load(["+experiment=demo", f"trainer.run_dir={folder}", *overrides], environ={}).config
    (folder / "config.yaml").write_text(dump_resolved(config))


@pytest.fixture
def variables(tmp_path):
    write_run(tmp_path)
    return {
        "TETRAD_RUN_DIR": str(tmp_path),
        "TETRAD_COORDINATOR": f"ipc://{tmp_path}/c",
        "TETRAD_BIND": f"ipc://{tmp_path}/b",
    }


@pytest.fixture
def model(tmp_path):
    """A copy of the demo's model, to break."""
    source = load(["+experiment=demo"], environ={}).config.trainer.policy.model.path
    return Path(shutil.copytree(source, tmp_path / "model"))


@pytest.mark.parametrize("service", SERVICES)
def test_help_names_the_flags_and_every_setting(service):
    asked = ask(service, "--help")

    assert asked.returncode == ExitCode.OK
    assert asked.stdout.startswith(f"usage: tetrad-{service} ")
    for word in ("--check", "--show-config", "--run-dir VALUE   (TETRAD_RUN_DIR, required)", "heavy: []"):
        assert word in asked.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_show_config_prints_the_settings(service, variables):
    asked = ask(service, "--show-config", "--metrics-port", "99", **variables)

    assert asked.returncode == ExitCode.OK, asked.stderr
    assert "metrics_port: 99" in asked.stdout
    assert "heavy: []" in asked.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_check_finds_nothing_wrong_with_the_demo(service, variables):
    asked = ask(service, "--check", **variables)

    assert (asked.returncode, asked.stderr) == (ExitCode.OK, "")
    assert asked.stdout.startswith("ok: ")
    assert "heavy: []" in asked.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_a_misspelt_variable_is_refused_before_anything_starts(service, variables):
    asked = ask(service, **variables, TETRAD_LOG_LEVL="info")

    assert asked.returncode == ExitCode.CONFIG
    assert f"tetrad-{service}: " in asked.stderr
    assert "did you mean TETRAD_LOG_LEVEL?" in asked.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_clear_tcp_needs_leave(service, variables):
    variables |= {"TETRAD_BIND": "tcp://127.0.0.1:5555", "TETRAD_COORDINATOR": "tcp://127.0.0.1:5556"}

    refused = ask(service, "--check", **variables)
    allowed = ask(service, "--check", "--allow-clear-tcp", "true", **variables)

    assert refused.returncode == ExitCode.CONFIG
    assert "clear TCP" in refused.stderr
    assert allowed.returncode == ExitCode.OK, allowed.stderr


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ("tokenizer.json", "has no tokenizer"),
        ("model.safetensors", "has no weights"),
        ("config.json", "has no config.json"),
    ],
)
def test_the_rollout_s_check_misses_parts_of_the_model(variables, tmp_path, model, broken, complaint):
    (model / broken).unlink()
    write_run(tmp_path, f"trainer.policy.model.path={model}")

    asked = ask("rollout", "--check", **variables)

    assert asked.returncode == ExitCode.CONFIG
    assert complaint in asked.stderr


def test_the_learner_s_check_misses_data(variables, tmp_path):
    write_run(tmp_path, "data.train_data=[/no/such/train.jsonl]")

    asked = ask("learner", "--check", **variables)

    assert asked.returncode == ExitCode.CONFIG
    assert "data.train_data: there is no /no/such/train.jsonl" in asked.stderr


def test_the_learner_s_check_needs_a_folder_to_write_to(variables, tmp_path):
    config = tmp_path / "config.yaml"
    told = variables | {"TETRAD_RUN_DIR": "/proc/no-run", "TETRAD_RUN_CONFIG": str(config)}

    asked = ask("learner", "--check", **told)

    assert asked.returncode == ExitCode.ENVIRONMENT
    assert "cannot be written to" in asked.stderr


def test_a_rank_explains_itself_without_torch():
    asked = ask("learner", "--help", module="rank.__main__")

    assert asked.returncode == ExitCode.OK
    for word in ("--set", "--num-steps", "--load", "TETRAD_COORDINATOR", "heavy: []"):
        assert word in asked.stdout
