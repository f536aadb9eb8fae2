"""`tetrad data inspect`: ids and text of prompts, and whether the file is still what was written."""

import shutil
from pathlib import Path

import pytest

import tetrad_config
from tetrad_cli.data import command
from tetrad_cli.data.commands import MAX_PROMPT_LENGTH
from tetrad_config import load
from tetrad_trajectories.dataset import Dataset
from tetrad_trajectories.row import Message, Row
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


def test_all_lengths_are_drawn_and_rows_that_a_run_would_drop_are_named(tmp_path, capsys):
    rows = [a_row("1+1=")] * 30 + [a_row("1234567890" * 4)] * 2
    write_rows(tmp_path / "rows.parquet", rows)

    assert command(["inspect", str(tmp_path / "rows.parquet"), "--model", MODEL, "--max-prompt-length", "20"]) == 0

    said = capsys.readouterr().out
    assert "2 of 32 are longer than trainer.max_prompt_length=20 and would be dropped" in said
    assert "longer: row 30 (41 tokens), row 31 (41 tokens)" in said
    assert said.count("  dropped") == 1


def test_prompts_that_the_template_refuses_are_named_with_its_words(tmp_path, capsys):
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    (model / "chat_template.jinja").write_text("{{ raise_exception('no chat') }}")

    assert command(["inspect", str(DEMO / "validation.jsonl"), "--model", str(model), "--rows", "1"]) == 0

    said = capsys.readouterr().out
    assert "row 0: env_class arithmetic" in said
    assert "refused by the chat template: no chat" in said
    assert "and 390 more" in said


def test_the_limit_is_that_of_the_run_file_unless_given():
    assert load([], environ={}).config.trainer.max_prompt_length == MAX_PROMPT_LENGTH


def a_row(text: str) -> Row:
    return Row(prompt=(Message("user", text),), ground_truth="2")
