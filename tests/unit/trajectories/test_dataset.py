"""Datasets from real files: order, hash, and errors that name file, row and column."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tetrad_trajectories.dataset import Dataset
from tetrad_trajectories.errors import DatasetError
from tetrad_trajectories.row import Message, Row
from tetrad_trajectories.rows_file import CHECKSUM_KEY, read_metadata, write_rows


def a_row(index=0, **changes):
    fields = {
        "prompt": (Message("user", f"question {index} — ü"),),
        "env_class": "arithmetic",
        "ground_truth": str(index),
        "reward_method": "rule",
        "extras": {"data_source": "test", "extra_info": {"split": "train", "index": index}},
    }
    return Row(**{**fields, **changes})


def some_rows(count, *, start=0):
    return [a_row(index) for index in range(start, start + count)]


def write_lines(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_rows_come_back_as_they_were_written(tmp_path, suffix):
    rows = some_rows(5)

    write_rows(tmp_path / f"rows{suffix}", rows)

    assert list(Dataset.read([tmp_path / f"rows{suffix}"])) == rows


def test_the_hash_is_of_the_rows_not_of_the_files(tmp_path):
    in_one = write_rows(tmp_path / "all.parquet", some_rows(7))
    write_rows(tmp_path / "first.jsonl", some_rows(3))
    write_rows(tmp_path / "second.parquet", some_rows(4, start=3))

    in_two = Dataset.read([tmp_path / "first.jsonl", str(tmp_path / "second.parquet")])

    assert in_two.hash == in_one == Dataset.read([tmp_path / "all.parquet"]).hash
    assert len(in_two) == 7
    assert in_two[3] == a_row(3)
    assert in_two.where(3) == f"{tmp_path / 'second.parquet'}, row 0"
    assert in_two.uid(3) == f"{in_one[:12]}:3"


def test_another_order_is_another_hash(tmp_path):
    one = write_rows(tmp_path / "a.jsonl", some_rows(2))
    other = write_rows(tmp_path / "b.jsonl", some_rows(2)[::-1])

    assert one != other


def test_many_row_groups_are_one_sequence(tmp_path):
    table = pa.Table.from_pylist([row.record() for row in some_rows(50)])
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=7)

    dataset = Dataset.read([tmp_path / "rows.parquet"])

    assert [dataset[i].ground_truth for i in (0, 6, 7, 49)] == ["0", "6", "7", "49"]


def test_a_json_array_is_read_too_and_blank_lines_are_no_rows(tmp_path):
    records = [row.record() for row in some_rows(2)]
    (tmp_path / "rows.json").write_text(json.dumps(records))
    lines = "\n\n".join(json.dumps(record) for record in records)
    (tmp_path / "lines.json").write_text(f"{lines}\n\n")

    assert list(Dataset.read([tmp_path / "rows.json"])) == some_rows(2)
    assert list(Dataset.read([tmp_path / "lines.json"])) == some_rows(2)


@pytest.mark.parametrize("index", [-1, 2])
def test_a_row_outside_the_dataset_does_not_exist(tmp_path, index):
    write_rows(tmp_path / "rows.jsonl", some_rows(2))

    with pytest.raises(IndexError, match=f"row {index} of a dataset with 2 rows"):
        Dataset.read([tmp_path / "rows.jsonl"])[index]


def test_a_bad_row_is_found_when_the_file_is_read(tmp_path):
    good = a_row().record()
    path = write_lines(tmp_path / "rows.jsonl", good, {**good, "prompt": "no messages"})

    with pytest.raises(DatasetError, match=r"rows\.jsonl, row 1 \(line 2\), column prompt: a bare string"):
        Dataset.read([path])


def test_a_bad_row_of_a_parquet_file_is_named(tmp_path):
    pq.write_table(pa.table({"prompt": ["hi"]}), tmp_path / "rows.parquet")

    with pytest.raises(DatasetError, match=r"rows\.parquet, row 0, column prompt"):
        Dataset.read([tmp_path / "rows.parquet"])


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("rows.jsonl", b"{broken", r"rows\.jsonl, row 0 \(line 1\): not JSON"),
        ("rows.jsonl", b"[1]", r"row 0 \(line 1\): needs a JSON object, not list"),
        ("rows.json", b"[1", r"rows\.json is not JSON"),
        ("rows.json", b"[1]", r"rows\.json, row 0: needs a JSON object, not int"),
        ("rows.jsonl", b"\n\n", r"no rows in .*rows\.jsonl"),
        ("rows.parquet", b"not parquet", r"rows\.parquet is not a readable Parquet file"),
        ("rows.csv", b"a,b", r"rows\.csv ends in none of \.parquet, \.jsonl, \.json"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, name, content, complaint):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DatasetError, match=complaint):
        Dataset.read([tmp_path / name])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"absent\.parquet does not exist"):
        Dataset.read([tmp_path / "absent.parquet"])


def test_no_files_at_all_are_refused():
    with pytest.raises(DatasetError, match="no rows in no files"):
        Dataset.read([])


def test_the_parquet_schema_is_the_one_of_skyrl(tmp_path):
    write_rows(tmp_path / "rows.parquet", some_rows(2), metadata={"made_by": "test"})

    schema = pq.read_schema(tmp_path / "rows.parquet")

    assert schema.names == ["data_source", "prompt", "env_class", "reward_spec", "extra_info"]
    assert schema.field("prompt").type == pa.list_(pa.struct({"role": pa.string(), "content": pa.string()}))
    assert schema.field("reward_spec").type == pa.struct({"method": pa.string(), "ground_truth": pa.string()})
    assert schema.field("extra_info").type == pa.struct({"split": pa.string(), "index": pa.int64()})


def test_metadata_and_checksum_are_in_the_footer(tmp_path):
    checksum = write_rows(tmp_path / "rows.parquet", some_rows(2), metadata={"made_by": "test"})

    assert read_metadata(tmp_path / "rows.parquet") == {"made_by": "test", CHECKSUM_KEY: checksum}


def test_rows_that_parquet_would_pad_silently_are_refused(tmp_path):
    rows = [a_row(), a_row(extras={"data_source": "test", "extra_info": {"other": 1}})]

    with pytest.raises(DatasetError, match=r"row 1 has columns .*extra_info\.other"):
        write_rows(tmp_path / "rows.parquet", rows)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([], "no rows to write"),
        ([a_row(extras={"extra_info": {}})], "column extra_info: the first row's {} has no Parquet type"),
        ([a_row(extras={"n": 1}), a_row(extras={"n": "one"})], "differ in type"),
    ],
)
def test_rows_without_a_schema_are_refused(tmp_path, rows, complaint):
    with pytest.raises(DatasetError, match=complaint):
        write_rows(tmp_path / "rows.parquet", rows)


def test_an_unknown_output_format_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"\.parquet or \.jsonl, not \.csv"):
        write_rows(tmp_path / "rows.csv", some_rows(1))
