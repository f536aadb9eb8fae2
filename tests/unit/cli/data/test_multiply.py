"""Products: different rows, known answers, and limits that are said."""

import pytest

from tetrad_cli.data import command
from tetrad_cli.data.errors import DataCommandError
from tetrad_cli.data.multiply import HELD_OUT, to_rows
from tetrad_trajectories.dataset import Dataset


def test_rows_differ_and_know_their_answer():
    rows = to_rows(digits=3, num_rows=500)

    assert len({row.prompt for row in rows}) == 500 + HELD_OUT
    for row in rows:
        left, right = row.prompt[0].content.removeprefix("What is ").rstrip("?").split(" * ")
        assert (len(left), len(right), row.env_class) == (3, 2, "multiply")
        assert row.ground_truth == str(int(left) * int(right))


@pytest.mark.parametrize(("digits", "num_rows", "reason"), [(1, 10, "2 to 9"), (2, 8001, "make 8,000 rows")])
def test_what_cannot_be_had_is_refused(digits, num_rows, reason):
    with pytest.raises(DataCommandError, match=reason):
        to_rows(digits=digits, num_rows=num_rows)


def test_the_command_writes_both_files(tmp_path):
    assert command(["multiply", "--output-dir", str(tmp_path), "--size", "20"]) == 0

    assert len(Dataset.read([tmp_path / "train.parquet"])) == 20
    assert len(Dataset.read([tmp_path / "validation.parquet"])) == HELD_OUT
