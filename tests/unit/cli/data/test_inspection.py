"""`tetrad data inspect`: ids and text of prompts, and whether the file is still what was written."""

from pathlib import Path

import pytest

import tetrad_config
from tetrad_cli.data import command
from tetrad_trajectories.dataset import Dataset
from tetrad_trajectories.row import Row
from tetrad_trajectories.rows_file import read_metadata, write_rows

DEMO = Path(tetrad_config.__file__).parent / "assets" / "demo"
MODEL = str(DEMO / "warm_start")


def test_three_prompts_are_shown_as_ids_and_as_text(capsys):
    assert command(["inspect", str(DEMO / "train.jsonl"), "--model", MODEL]) == 0

    out = capsys.readouterr().out
    assert out.startswith(f"{DEMO / 'train.jsonl'}: 9,600 rows, sha256 ")
    assert "row 0: env_class arithmetic, ground_truth '55', 7 tokens" in out
    assert "ids  14 4 0 10 1 5 11\n" in out
    assert "text '<bos>40+15='" in out
    assert out.count("ids  ") == 3


def test_the_number_of_prompts_can_be_chosen(capsys):
    command(["inspect", str(DEMO / "validation.jsonl"), "--model", MODEL, "--rows", "1"])

    assert capsys.readouterr().out.count("ids  ") == 1


def test_a_file_says_whether_it_is_what_was_written(tmp_path, capsys):
    rows = list(Dataset.read([DEMO / "validation.jsonl"]))[:3]
    path = tmp_path / "rows.parquet"

    write_rows(path, rows)
    command(["inspect", str(path), "--model", MODEL])
    assert "(as recorded in the file)" in capsys.readouterr().out

    tamper(path, rows)
    command(["inspect", str(path), "--model", MODEL])
    assert "(CHANGED: the file records " in capsys.readouterr().out


def tamper(path, rows):
    import pyarrow.parquet as pq

    old = read_metadata(path)
    write_rows(path, [Row(prompt=rows[0].prompt, extras=rows[0].extras, ground_truth="7")])
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata(old), path)


@pytest.mark.parametrize("files", [[], ["tokenizer.json", "tokenizer_config.json"]])
def test_a_model_without_a_template_is_refused(tmp_path, capsys, files):
    for name in files:
        (tmp_path / name).write_bytes((DEMO / "warm_start" / name).read_bytes())

    assert command(["inspect", str(DEMO / "validation.jsonl"), "--model", str(tmp_path)]) == 2

    assert f"--model {tmp_path}: " in capsys.readouterr().err
