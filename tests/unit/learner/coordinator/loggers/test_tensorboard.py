import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event
from unit.learner.coordinator.loggers.logger_builders import a_disk_with_room_for, a_row

from tetrad_learner.coordinator.loggers.tensorboard import TensorBoard


def events(folder: Path) -> Iterator[Event]:
    """Every event of a folder, as TensorBoard reads it: file by file, each up to what is not whole."""
    for path in sorted(folder.glob("events.out.tfevents.*"), key=lambda path: path.suffix):
        data = path.read_bytes()
        while len(data) >= 12:
            (length,) = struct.unpack_from("<Q", data)
            if len(data) < length + 16:
                break
            yield Event.FromString(data[12 : 12 + length])
            data = data[length + 16 :]


def scalars(folder: Path) -> list[tuple[int, str, float]]:
    found = [(event.step, value) for event in events(folder) for value in event.summary.value]
    return [(step, value.tag, value.simple_value) for step, value in found if not value.HasField("tensor")]


def test_scalars_are_on_the_disk_when_log_returns(tmp_path: Path) -> None:
    logger = TensorBoard(tmp_path)

    logger.log(1, {"train/loss": 0.5, "eval/all/mean_reward": 0.25})

    assert scalars(tmp_path) == [(1, "train/loss", 0.5), (1, "eval/all/mean_reward", 0.25)]
    logger.close()


def test_samples_are_a_text(tmp_path: Path) -> None:
    logger = TensorBoard(tmp_path)

    logger.log_samples(10, [a_row(response="four")])

    (event,) = [event for event in events(tmp_path) if event.summary.value]
    (value,) = event.summary.value
    assert (event.step, value.metadata.plugin_data.plugin_name) == (10, "text")
    assert b"| four |" in value.tensor.string_val[0]
    logger.close()


def test_after_a_full_disk_the_next_record_begins_a_file_that_can_be_read(tmp_path: Path) -> None:
    logger = TensorBoard(tmp_path)
    logger.log(1, {"train/loss": 0.5})

    with a_disk_with_room_for(next(tmp_path.iterdir()).stat().st_size + 10), pytest.raises(OSError, match="too large"):
        logger.log(2, {"train/loss": 0.25})
    logger.log(3, {"train/loss": 0.125})

    assert scalars(tmp_path) == [(1, "train/loss", 0.5), (3, "train/loss", 0.125)]
    logger.close()
