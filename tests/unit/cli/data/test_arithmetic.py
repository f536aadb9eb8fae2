"""Sums: the split that the demo's warm start was made with, and rows that grade."""

import random

import pytest

from tetrad_cli.data import command
from tetrad_cli.data.arithmetic import Sum, split, to_row
from tetrad_cli.data.errors import DataCommandError
from tetrad_trajectories.dataset import Dataset


def test_the_held_out_sums_are_those_that_the_warm_start_never_saw():
    pairs = [(x, y) for x in range(100) for y in range(100)]
    random.Random(1234).shuffle(pairs)

    exercises = split(2)

    assert [(sum_.x, sum_.y) for sum_ in exercises.held_out] == pairs[:400]
    assert [(sum_.x, sum_.y) for sum_ in exercises.train] == pairs[400:]


@pytest.mark.parametrize(("digits", "num_train", "num_held_out"), [(1, 90, 10), (2, 9_600, 400), (5, 9_600, 400)])
def test_no_sum_is_both_trained_and_held_out(digits, num_train, num_held_out):
    exercises = split(digits)

    assert (len(exercises.train), len(exercises.held_out)) == (num_train, num_held_out)
    assert len({*exercises.train, *exercises.held_out}) == num_train + num_held_out


@pytest.mark.parametrize("digits", [0, 10, -1])
def test_absurd_digits_are_refused(digits):
    with pytest.raises(DataCommandError, match=f"--digits is {digits}"):
        split(digits)


def test_summands_are_padded_and_answers_are_not():
    assert (Sum(3, 58, digits=2).question, Sum(3, 4, digits=2).answer) == ("03+58=", "7")
    assert Sum(3, 58, digits=4).question == "0003+0058="


def test_a_row_asks_and_knows_the_answer():
    row = to_row(Sum(37, 58, digits=2), split_name="train", index=4)

    assert [(message.role, message.content) for message in row.prompt] == [("user", "37+58=")]
    assert (row.env_class, row.ground_truth, row.reward_method) == ("arithmetic", "95", "rule")


def test_the_command_writes_both_files(tmp_path, capsys):
    assert command(["arithmetic", "--output-dir", str(tmp_path / "new"), "--digits", "1"]) == 0

    assert len(Dataset.read([tmp_path / "new/train.parquet"])) == 90
    assert len(Dataset.read([tmp_path / "new/validation.parquet"])) == 10
    assert capsys.readouterr().out.count("rows, sha256") == 2
