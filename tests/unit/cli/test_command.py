"""The `tetrad` command as a user types it."""

import json
import subprocess
import sys

import pytest

from tetrad_cli.__main__ import main


def imported_by(*arguments):
    code = "import sys; from tetrad_cli.__main__ import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
    code += "print('MODULES', *sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.rsplit("MODULES ", 1)[1].split())


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])

    assert exit_.value.code == 0
    assert "start a run in the background" in capsys.readouterr().out


def test_without_a_command_it_shows_help_and_fails(capsys):
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().out


def test_an_unknown_command_is_one_line_and_exit_code_2(capsys):
    assert main(["trian"]) == 2
    assert capsys.readouterr().err == "tetrad: there is no command 'trian'; did you mean train?\n"


def test_help_loads_no_library_that_is_not_needed_for_it():
    assert not imported_by("--help") & {"pydantic", "torch", "rich", "structlog", "omegaconf", "asyncio"}


@pytest.mark.parametrize("command", ["train", "eval", "up", "status", "plan", "down"])
def test_the_help_of_a_command_loads_neither_torch_nor_the_run_file_library(command):
    assert not imported_by(command, "--help") & {"torch", "transformers", "omegaconf", "pyarrow", "rich"}


def test_the_tutorial_s_module_is_the_train_command():
    command = [sys.executable, "-m", "tetrad.entrypoints.main_base", "--help"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.startswith("usage: tetrad train")


def test_a_wrong_run_file_is_reported_with_the_configuration_s_exit_code(capsys):
    assert main(["train", "--check", "trainer.epoch=3"]) == 78
    assert "did you mean trainer.epochs?" in capsys.readouterr().err


def test_a_run_that_the_machine_cannot_do_is_refused_with_what_helps(capsys):
    assert main(["train", "--check", "+experiment=demo", "data.train_data=[/nonexistent/x.jsonl]"]) == 78

    assert "/nonexistent/x.jsonl" in capsys.readouterr().err


def test_the_demo_can_run_here(capsys):
    assert main(["train", "--check", "+experiment=demo"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "ok: demo can run here"


def test_the_resolved_run_file_can_be_seen(capsys):
    assert main(["train", "--show-config", "+experiment=demo", "trainer.seed=7"]) == 0
    assert "seed: 7" in capsys.readouterr().out


def test_plan_names_an_empty_file_beside_others_and_refuses_where_all_are(tmp_path, capsys):
    rows, empty = tmp_path / "rows.jsonl", tmp_path / "empty.jsonl"
    row = {"prompt": [{"role": "user", "content": "1+1="}], "reward_spec": {"ground_truth": "2"}}
    rows.write_text((json.dumps(row) + "\n") * 32)
    empty.touch()

    planned = main(["plan", "+experiment=demo", f"data.train_data=[{rows},{empty}]"])
    refused = main(["plan", "+experiment=demo", f"data.train_data=[{empty}]"])

    assert (planned, refused) == (0, 78)
    told = capsys.readouterr()
    assert f"note: {empty} of data.train_data has no rows" in told.out
    assert f"no rows in {empty}" in told.err


def test_plan_prints_the_arithmetic_of_the_demo(capsys):
    assert main(["plan", "+experiment=demo"]) == 0

    out = capsys.readouterr().out
    assert "120" in out
    assert "256" in out


def test_doctor_looks_at_the_machine(capsys):
    assert main(["doctor"]) in (0, 72)

    out = capsys.readouterr().out
    assert all(subject in out for subject in ("python", "pyzmq", "cores", "memory", "shared memory", "disk"))
