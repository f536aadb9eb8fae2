"""The front door answers questions without opening the house."""

import subprocess
import sys

import pytest

from tetrad_config import BroadcasterSettings, RunConfig, dump_resolved
from tetrad_runtime.entry import Entry
from tetrad_runtime.exits import ExitCode

SETTINGS = {"TETRAD_COORDINATOR": "ipc:///tmp/c", "TETRAD_BIND": "ipc:///tmp/b"}


def an_entry(**changes):
    serve = "no_such_module:serve"
    return Entry(service="broadcaster", summary="Moves.", settings=BroadcasterSettings, **{"serve": serve, **changes})


@pytest.fixture
def environ(tmp_path):
    (tmp_path / "config.yaml").write_text(dump_resolved(RunConfig()))
    return {**SETTINGS, "TETRAD_RUN_DIR": str(tmp_path)}


def checked(settings, run_config):
    return run_config.trainer.epochs + 2


def test_help_lists_every_setting_and_needs_none(capsys):
    assert an_entry().main(["--help"], {}) == 0

    assert "--coordinator VALUE   (TETRAD_COORDINATOR, required)" in capsys.readouterr().out


def test_show_config_prints_the_settings_without_the_service(environ, capsys):
    assert an_entry().main(["--show-config", "--metrics-port", "99"], environ) == 0

    assert "metrics_port: 99" in capsys.readouterr().out


def test_check_reads_the_run_file(environ):
    assert an_entry().main(["--check"], environ) == 0


def test_check_runs_what_the_service_checks(environ):
    sys.modules["checked_service"] = sys.modules[__name__]

    assert an_entry(check="checked_service:checked").main(["--check"], environ) == 3


def test_a_broken_run_file_is_a_configuration_fault(environ, tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("trainer: {epochs: many}")

    assert an_entry().main(["--check"], environ) == ExitCode.CONFIG
    assert "trainer.epochs" in capsys.readouterr().err


def test_a_missing_setting_is_named_with_variable_and_flag(environ, capsys):
    del environ["TETRAD_BIND"]

    assert an_entry().main([], environ) == ExitCode.CONFIG
    assert "set TETRAD_BIND or --bind" in capsys.readouterr().err


def test_looking_at_a_service_imports_no_heavy_library():
    heavy = {"torch", "transformers", "zmq", "pyarrow"}
    code = f"import tetrad_runtime.entry, sys; print(sorted({heavy} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.strip() == "[]"
