"""Lines of metrics.jsonl are read, and printed as the tutorial prints them."""

import json

import pytest

from tetrad_cli.live.record import Record, parse


def test_a_line_becomes_a_record_of_numbers():
    line = json.dumps({"step": 5, "time": 1.5, "metrics": {"train/mean_reward": 0.25, "note": "x", "flag": True}})

    assert parse(line) == Record(step=5, time_s=1.5, metrics={"train/mean_reward": 0.25})


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "null", '{"step": 1}', '{"step": "x", "metrics": {}}', '{"metrics": 3}']
)
def test_what_is_no_record_is_none(line):
    assert parse(line) is None


def test_the_line_has_the_tutorial_s_format():
    metrics = {"eval/all/pass_at_1": 0.26843, "eval/all/mean_reward": 0.27, "timing/train": 3.0}

    line = Record(step=5, time_s=0.0, metrics=metrics).line()

    assert line == "Step 5: eval/all/pass_at_1=0.2684, eval/all/mean_reward=0.27"
