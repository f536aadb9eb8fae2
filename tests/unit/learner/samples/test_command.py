from importlib.metadata import entry_points

import pytest
from unit.learner.samples.samples_builders import HOSTILE, a_group, a_run

from tetrad_learner.samples.command import main
from tetrad_runtime.exits import ExitCode
from tetrad_trajectories.journal import step_path


def test_it_is_a_command_of_tetrad() -> None:
    (point,) = entry_points(group="tetrad.commands", name="samples")

    assert point.load() is main


def test_a_runs_samples_become_one_file_in_its_folder(tmp_path, capsys) -> None:
    run = a_run(tmp_path / "demo", {1: a_group(0), 2: a_group(1)}, words=["<bos>", "2", "+", "3", HOSTILE])

    code = main([str(run)])

    page = (run / "samples.html").read_text()
    assert code == ExitCode.OK
    assert capsys.readouterr().out == f"{run / 'samples.html'}: 4 samples of 2 steps\n"
    assert "<title>demo: samples</title>" in page
    assert HOSTILE not in page
    assert {path.name for path in run.iterdir()} == {"config.yaml", "journal", "model", "samples.html"}


def test_what_is_left_out_is_said(tmp_path, capsys) -> None:
    run = a_run(tmp_path / "demo", {step: a_group(step) for step in range(1, 5)})

    code = main([str(run), "--limit", "2", "--output", str(tmp_path / "out" / "page.html")])

    said = capsys.readouterr().out.splitlines()
    assert code == ExitCode.OK
    assert said[0].endswith("page.html: 2 samples of 1 step")
    assert said[1] == "left out: steps 1 to 3; show some with --step N, or more with --limit N"
    assert said[2].startswith("token ids stand for texts")
    assert (tmp_path / "out" / "page.html").exists()


def test_a_run_is_found_by_its_name_below_outputs(tmp_path, monkeypatch) -> None:
    a_run(tmp_path / "outputs" / "demo", {1: a_group(0)})
    monkeypatch.chdir(tmp_path)

    assert main(["demo", "--step", "1"]) == ExitCode.OK


@pytest.mark.parametrize("arguments", [["nothing-here"], ["{run}", "--step", "9"]])
def test_a_run_or_step_that_is_not_there_is_refused(tmp_path, capsys, arguments) -> None:
    run = a_run(tmp_path / "demo", {1: a_group(0)})

    code = main([argument.format(run=run) for argument in arguments])

    assert code == ExitCode.CONFIG
    assert capsys.readouterr().err.startswith("tetrad: ")
    assert not (run / "samples.html").exists()


def test_a_damaged_journal_is_the_fault_of_the_data(tmp_path, capsys) -> None:
    run = a_run(tmp_path / "demo", {1: a_group(0)})
    path = step_path(run / "journal", 1)
    path.write_bytes(path.read_bytes()[:-40])

    assert main([str(run)]) == ExitCode.DATA
    assert "step_00000001.parquet" in capsys.readouterr().err


def test_a_limit_below_one_is_refused(tmp_path) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--limit", "0"])
