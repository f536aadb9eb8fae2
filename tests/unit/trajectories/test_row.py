"""Rows: what is read from a record, and what is refused with a reason."""

import pytest

from tetrad_trajectories.errors import DatasetError
from tetrad_trajectories.row import Message, parse_row

TUTORIAL_ROW = {
    "prompt": [
        {"role": "system", "content": "You are a helpful math tutor..."},
        {"role": "user", "content": "Janet has 3 apples. She buys 2 more..."},
    ],
    "env_class": "gsm8k",
    "reward_spec": {"method": "rule", "ground_truth": "5"},
    "extra_info": {"split": "train", "index": 0},
}


def test_the_tutorials_row_is_read_in_full():
    row = parse_row(TUTORIAL_ROW, where="here")

    assert row.prompt[1] == Message("user", "Janet has 3 apples. She buys 2 more...")
    assert (row.env_class, row.ground_truth, row.reward_method) == ("gsm8k", "5", "rule")
    assert row.extras == {"extra_info": {"split": "train", "index": 0}}


def test_a_row_survives_the_way_to_a_record_and_back():
    record = {**TUTORIAL_ROW, "data_source": "x", "level": 3}
    record["reward_spec"] = {"method": "rule", "ground_truth": "5", "style": "strict"}

    row = parse_row(record, where="here")

    assert parse_row(row.record(), where="here") == row
    assert row.record() == record
    assert row.extras["reward_spec"] == {"style": "strict"}


def test_only_the_prompt_is_mandatory():
    row = parse_row({"prompt": [{"role": "user", "content": "hi"}]}, where="here")

    assert (row.env_class, row.ground_truth, row.reward_method, row.extras) == (None, None, None, {})


def test_a_number_as_ground_truth_becomes_text():
    row = parse_row({**TUTORIAL_ROW, "reward_spec": {"method": "rule", "ground_truth": 5}}, where="here")

    assert row.ground_truth == "5"


def test_extra_info_written_as_json_text_is_decoded():
    row = parse_row({**TUTORIAL_ROW, "extra_info": '{"index": 7, "tags": ["a"]}'}, where="here")

    assert row.extras["extra_info"] == {"index": 7, "tags": ["a"]}


def test_keys_that_parquet_padded_are_dropped_from_messages():
    record = {"prompt": [{"role": "user", "content": "hi", "name": None}]}

    assert parse_row(record, where="here").prompt == (Message("user", "hi"),)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"prompt": "What is 2 + 2?"}, r"column prompt: a bare string would bypass the chat template"),
        ({"prompt": []}, r"column prompt: needs a list of at least one message"),
        ({"prompt": None}, r"column prompt: .* not nothing"),
        ({"prompt": [{"role": "user"}]}, r"column prompt\[0\].content: needs text, not nothing"),
        ({"prompt": [{"content": "hi"}]}, r"column prompt\[0\].role: needs a name"),
        ({"prompt": ["hi"]}, r"column prompt\[0\]: needs role and content"),
        ({"prompt": [{"role": "a", "content": "b", "name": "c"}]}, r"role and content only; remove name"),
        ({"env_class": 3}, r"column env_class: needs the name of an environment, not 3"),
        ({"env_class": ""}, r"column env_class"),
        ({"reward_spec": "5"}, r"column reward_spec: needs method and ground_truth"),
        ({"reward_spec": {"ground_truth": ["a"]}}, r"ground_truth: .* write structured answers as JSON text"),
        ({"reward_spec": {"ground_truth": True}}, r"ground_truth: needs text or a number, not True"),
        ({"reward_spec": {"method": 1}}, r"column reward_spec.method"),
        ({"image": b"png"}, r"column image: bytes is not JSON-like"),
    ],
)
def test_a_bad_row_is_refused_with_place_and_column(change, complaint):
    with pytest.raises(DatasetError, match=rf"^file\.jsonl, row 4, {complaint}|file.jsonl, row 4, .*{complaint}"):
        parse_row({**TUTORIAL_ROW, **change}, where="file.jsonl, row 4")
