"""A growing metrics file is followed line by line."""

import json

from tetrad_cli.live.metrics_file import MetricsFile


def line(step):
    return json.dumps({"step": step, "time": 1.0, "metrics": {"a": 1.0}}) + "\n"


def steps(file):
    return [record.step for record in file.added()]


def test_complete_lines_are_given_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path)
    assert steps(file) == []

    path.write_text(line(1) + line(2)[:10])
    assert steps(file) == [1]
    path.write_text(line(1) + line(2))
    assert steps(file) == [2]
    assert steps(file) == []


def test_what_was_there_before_is_skipped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(1))
    file = MetricsFile(path)
    file.skip_present()

    with path.open("a") as more:
        more.write(line(2))

    assert steps(file) == [2]


def test_a_file_that_is_written_anew_is_read_from_its_start(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(1) + line(2))
    file = MetricsFile(path)
    file.added()

    path.write_text(line(7))

    assert steps(file) == [7]
