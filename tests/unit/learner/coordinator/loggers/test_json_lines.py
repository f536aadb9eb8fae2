import json
from pathlib import Path

import pytest
from unit.learner.coordinator.loggers.logger_builders import a_disk_with_room_for, a_row

from tetrad_learner.coordinator.loggers.json_lines import JsonLines


def records(path: Path) -> list[tuple[int, dict[str, float]]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["step"], line["metrics"]) for line in lines]


def test_a_record_is_one_line_that_others_can_read_at_once(tmp_path: Path) -> None:
    logger = JsonLines(tmp_path / "metrics.jsonl")

    logger.log(3, {"train/loss": 0.5})
    logger.log(4, {"train/loss": 0.25})

    assert records(tmp_path / "metrics.jsonl") == [(3, {"train/loss": 0.5}), (4, {"train/loss": 0.25})]
    logger.close()


def test_a_later_start_appends(tmp_path: Path) -> None:
    for step in (1, 2):
        logger = JsonLines(tmp_path / "metrics.jsonl")
        logger.log(step, {})
        logger.close()

    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_line_that_a_killed_writer_left_unfinished_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "time": 0, "metrics": {}}\n{"step": 2, "ti')

    logger = JsonLines(path)
    logger.log(3, {})

    assert records(path) == [(1, {}), (3, {})]
    logger.close()


def test_a_full_disk_leaves_whole_lines_and_takes_the_next_once_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    logger = JsonLines(path)
    logger.log(1, {"train/loss": 0.5})

    with a_disk_with_room_for(path.stat().st_size + 10), pytest.raises(OSError, match="File too large"):
        logger.log(2, {"train/loss": 0.5})
    logger.log(3, {"train/loss": 0.25})

    assert [step for step, _metrics in records(path)] == [1, 3]
    logger.close()


def test_samples_are_left_to_the_journal(tmp_path: Path) -> None:
    logger = JsonLines(tmp_path / "metrics.jsonl")

    logger.log_samples(1, [a_row()])

    assert (tmp_path / "metrics.jsonl").read_bytes() == b""
    logger.close()
