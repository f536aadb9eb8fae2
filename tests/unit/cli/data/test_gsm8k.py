"""`tetrad data gsm8k`: the row format of SkyRL and of the tutorial, and counts of the real files."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tetrad_cli.data import command
from tetrad_cli.data.gsm8k import AnswerFormat, PromptStyle, final_answer
from tetrad_trajectories.dataset import Dataset

FIXTURE = Path(__file__).parent / "gsm8k_fixture"
# The authors' files, where somebody put them: https://github.com/openai/grade-school-math
REAL = Path(os.environ.get("GSM8K_DIR", Path(__file__).parents[4] / "outputs" / "data" / "gsm8k-source"))
HASH = 'Let\'s think step by step and output the final answer after "####".'


def prepare(folder, *options, source=FIXTURE):
    return command(["gsm8k", "--output-dir", str(folder), "--source", str(source), *options])


def test_a_problem_becomes_a_row_of_skyrl(tmp_path):
    assert prepare(tmp_path) == 0

    assert pq.read_table(tmp_path / "train.parquet").slice(1, 1).to_pylist() == [
        {
            "data_source": "openai/gsm8k",
            "prompt": [
                {
                    "role": "user",
                    "content": f"A ship carries 35,000 crates twice a year. How many in a year? {HASH}",
                }
            ],
            "env_class": "gsm8k",
            "reward_spec": {"method": "rule", "ground_truth": "70000"},
            "extra_info": {
                "split": "train",
                "index": 1,
                "answer": "35,000 * 2 = <<35000*2=70000>>70,000 crates.\n#### 70,000",
                "question": "A ship carries 35,000 crates twice a year. How many in a year?",
            },
        }
    ]


def test_the_columns_are_in_the_order_and_of_the_types_that_skyrl_writes(tmp_path):
    prepare(tmp_path)

    schema = pq.read_schema(tmp_path / "validation.parquet")

    text = pa.string()
    assert list(zip(schema.names, schema.types, strict=True)) == [
        ("data_source", text),
        ("prompt", pa.list_(pa.struct({"role": text, "content": text}))),
        ("env_class", text),
        ("reward_spec", pa.struct({"method": text, "ground_truth": text})),
        ("extra_info", pa.struct({"split": text, "index": pa.int64(), "answer": text, "question": text})),
    ]


def test_ground_truths_are_text_without_thousands_separators(tmp_path):
    prepare(tmp_path)

    assert [row.ground_truth for row in Dataset.read([tmp_path / "train.parquet"])] == ["5", "70000", "-5"]
    assert [row.ground_truth for row in Dataset.read([tmp_path / "validation.parquet"])] == ["60", "4.5"]


def test_validation_rows_say_that_they_are_of_the_test_split(tmp_path):
    prepare(tmp_path)

    row = Dataset.read([tmp_path / "validation.parquet"])[1]

    assert (row.extras["extra_info"]["split"], row.extras["extra_info"]["index"]) == ("test", 1)


def test_system_prompt_and_answer_format_shape_the_prompt(tmp_path):
    prepare(tmp_path, "--system-prompt", "You are a maths tutor.", "--answer-format", "boxed")

    system, user = Dataset.read([tmp_path / "train.parquet"])[0].prompt

    assert (system.role, system.content) == ("system", "You are a maths tutor.")
    assert user.content.endswith(
        r"apples has she? Let's think step by step and output the final answer within \boxed{}."
    )


def test_only_training_rows_are_limited(tmp_path):
    prepare(tmp_path, "--max-train-rows", "2")

    assert len(Dataset.read([tmp_path / "train.parquet"])) == 2
    assert len(Dataset.read([tmp_path / "validation.parquet"])) == 2


def test_the_checksum_and_the_style_are_in_the_footer(tmp_path, capsys):
    prepare(tmp_path, "--answer-format", "boxed")

    metadata = pq.read_metadata(tmp_path / "train.parquet").metadata

    checksum = Dataset.read([tmp_path / "train.parquet"]).hash
    assert metadata[b"tetrad.rows_sha256"].decode() == checksum
    assert metadata[b"tetrad.answer_format"] == b"boxed"
    assert f"train.parquet: 3 rows, sha256 {checksum}" in capsys.readouterr().out


def test_the_same_input_gives_the_same_bytes(tmp_path):
    prepare(tmp_path / "one")
    prepare(tmp_path / "two")

    assert (tmp_path / "one/train.parquet").read_bytes() == (tmp_path / "two/train.parquet").read_bytes()


def test_the_real_files_give_7473_and_1319_rows(tmp_path):
    if not REAL.is_dir():
        pytest.skip(f"GSM8K is not at {REAL}; set GSM8K_DIR to a folder with train.jsonl and test.jsonl")

    prepare(tmp_path, source=REAL)

    train, validation = (Dataset.read([tmp_path / f"{name}.parquet"]) for name in ("train", "validation"))
    assert (len(train), len(validation)) == (7_473, 1_319)
    assert (train[0].ground_truth, validation[0].ground_truth) == ("72", "18")
    assert all(row.ground_truth for row in (*train, *validation))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("#### 5", "5"),
        ("5 + 5 = 10\n#### 1,234,567", "1234567"),
        ("#### -3", "-3"),
        ("#### 0.25", "0.25"),
        ("#### 1\n#### 2", "1"),
        ("####5", None),
        ("five", None),
    ],
)
def test_the_ground_truth_is_the_number_after_the_marker(answer, expected):
    assert final_answer(answer) == expected


def test_without_a_system_prompt_there_is_no_system_message():
    (message,) = PromptStyle(AnswerFormat.HASH).messages("How many?")

    assert (message.role, message.content) == ("user", f"How many? {HASH}")


@pytest.mark.parametrize(
    ("train", "complaint"),
    [
        (None, "train.jsonl does not exist; --source needs a folder with train.jsonl and test.jsonl"),
        ('{"question": "How many?"}', "row 0 (line 1): needs question and answer, has question"),
        ('{"question": "How many?", "answer": "five"}', "column answer: no number after '#### '"),
        ("{", "row 0 (line 1): not JSON"),
    ],
)
def test_a_bad_source_is_refused_and_nothing_is_written(tmp_path, capsys, train, complaint):
    source = tmp_path / "source"
    source.mkdir()
    (source / "test.jsonl").write_bytes((FIXTURE / "test.jsonl").read_bytes())
    if train is not None:
        (source / "train.jsonl").write_text(train)

    assert prepare(tmp_path / "out", source=source) == 2

    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
