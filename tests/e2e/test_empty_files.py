"""A run whose files of training data are all empty: refused before anything starts, by the names of the files."""

import pytest
from chaos.run_under_test import MakeRun

from tetrad_runtime.exits import ExitCode

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]


def test_a_run_without_a_row_is_refused_by_the_names_of_its_files(make_run: MakeRun) -> None:
    run = make_run("data.train_data=[first.jsonl,second.jsonl]")
    run.folder.mkdir(exist_ok=True)
    for name in ("first.jsonl", "second.jsonl"):
        (run.folder / name).touch()

    code = run.start().finish()

    said = (run.folder / "train.log").read_text()
    assert code == ExitCode.CONFIG, said
    assert "no rows in first.jsonl, second.jsonl; name a file that has some" in said
    assert not run.run_dir.exists()
