"""Prompts of words, files and standard input; what is none names its place."""

import io
import json
from pathlib import Path

import pytest

from tetrad_rollout.infer.questions import Question, questions_of
from tetrad_runtime.exits import ConfigFault, DataFault

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "13+54="}]


def asked(*prompts: str, files: tuple[Path, ...] = (), stdin: str = "", limit: int | None = None) -> list[Question]:
    return list(questions_of(prompts, files, stdin=io.StringIO(stdin), limit=limit))


def test_prompts_come_first_and_files_after_them_in_order(tmp_path):
    (tmp_path / "a.txt").write_text("two\n\nthree\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"prompt": MESSAGES, "env_class": "arithmetic"}) + "\n")

    found = asked("one", files=(tmp_path / "a.txt", tmp_path / "b.jsonl"))

    assert [question.prompt for question in found] == ["one", "two", "three", tuple(MESSAGES)]
    assert found[2].where == f"{tmp_path / 'a.txt'}, line 3"
    assert found[3].columns["env_class"] == "arithmetic"


def test_without_prompts_and_files_each_line_of_standard_input_is_one():
    found = asked(stdin='one\n{"prompt": "two"}\n{"no": "row"}\n')

    assert [question.prompt for question in found] == ["one", "two", '{"no": "row"}']


def test_a_hyphen_is_all_of_standard_input():
    assert [question.prompt for question in asked("-", stdin="one\ntwo\n")] == ["one\ntwo\n"]


def test_a_dataset_in_parquet_is_read_row_by_row(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.Table.from_pylist([{"prompt": MESSAGES, "reward_spec": {"ground_truth": "67"}}]), tmp_path / "v.parquet"
    )

    (found,) = asked(files=(tmp_path / "v.parquet",))

    assert found.prompt == tuple(MESSAGES)
    assert found.columns["reward_spec"] == {"ground_truth": "67"}


def test_a_limit_reads_no_further(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "one"}\nbroken\n')

    assert [question.prompt for question in asked(files=(tmp_path / "a.jsonl",), limit=1)] == ["one"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("broken", "line 1: needs a JSON object with prompt or messages"),
        ('{"prompt": 3}', "line 1: prompt is 3; it must be text, or messages"),
        ('{"prompt": [{"role": "user"}]}', r"line 1: prompt is \[\{\"role\": \"user\"\}\]; it must be text"),
        ('{"prompt": []}', r"line 1: prompt is \[\]"),
        ('{"question": "one"}', "line 1: prompt is null; it must be"),
    ],
)
def test_a_row_that_is_no_prompt_names_its_line(tmp_path, line, reason):
    (tmp_path / "a.jsonl").write_text(line + "\n")

    with pytest.raises(DataFault, match=reason):
        asked(files=(tmp_path / "a.jsonl",))


def test_a_file_that_is_not_there_and_an_empty_prompt_are_refused(tmp_path):
    with pytest.raises(ConfigFault, match=r"--file .*gone\.txt does not exist"):
        asked(files=(tmp_path / "gone.txt",))
    with pytest.raises(DataFault, match="--prompt 2 is empty"):
        asked("one", " ")


def test_a_system_message_comes_first_where_the_prompt_has_none_of_its_own():
    plain, own = Question(where="", prompt="13+54="), Question(where="", prompt=tuple(MESSAGES))

    assert plain.messages(system="Sing.") == [
        {"role": "system", "content": "Sing."},
        {"role": "user", "content": "13+54="},
    ]
    assert own.messages(system="Sing.") == MESSAGES
