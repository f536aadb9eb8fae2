import json
from pathlib import Path

from tetrad_learner.coordinator.loggers import Console, JsonLines, TensorBoard, format_line


def test_a_record_is_one_line_that_others_can_read_at_once(tmp_path: Path) -> None:
    logger = JsonLines(tmp_path / "metrics.jsonl")

    logger.log(3, {"train/loss": 0.5})
    logger.log(4, {"train/loss": 0.25})

    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(record["step"], record["metrics"]) for record in records] == [
        (3, {"train/loss": 0.5}),
        (4, {"train/loss": 0.25}),
    ]
    logger.close()


def test_a_later_start_appends(tmp_path: Path) -> None:
    for step in (1, 2):
        logger = JsonLines(tmp_path / "metrics.jsonl")
        logger.log(step, {})
        logger.close()

    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_the_console_line_is_the_tutorials() -> None:
    line = format_line(12, {"train/policy_loss": 0.02341, "train/mean_reward": 1})

    assert line == "Step 12: train/policy_loss=0.0234, train/mean_reward=1.0000"


def test_the_console_needs_nothing() -> None:
    console = Console()

    console.log(1, {"train/loss": 0.5})
    console.close()


def test_tensorboard_writes_an_event_file(tmp_path: Path) -> None:
    logger = TensorBoard(tmp_path)

    logger.log(1, {"train/loss": 0.5})
    logger.close()

    (file,) = tmp_path.glob("events.out.tfevents.*")
    assert b"train/loss" in file.read_bytes()
