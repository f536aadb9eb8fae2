"""Logs are rotated by size under their writers' hands, and their last lines can be read."""

import asyncio

from structlog.testing import capture_logs

from tetrad_cli.launch.logfiles import KEPT_LOGS, Logs
from tetrad_cli.launch.session import _rotate


def test_the_last_lines_come_oldest_first(tmp_path):
    logs = Logs(tmp_path)
    logs.path("learner").write_text("".join(f"line {n}\n" for n in range(100)))

    assert logs.tail("learner", lines=2) == ["line 98", "line 99"]


def test_a_log_that_is_not_there_has_no_lines(tmp_path):
    assert Logs(tmp_path).tail("learner") == []


def test_rotation_keeps_every_line_and_the_writer_goes_on(tmp_path):
    logs = Logs(tmp_path, max_bytes=100)
    with logs.path("learner").open("a", buffering=1) as writer:
        written = []
        for round_ in range(3):
            for n in range(20):
                written.append(f"round {round_} line {n}")
                writer.write(written[-1] + "\n")
            logs.rotate()

    kept = [f"learner.log.{number}" for number in range(3, 0, -1)]
    assert [line for name in kept for line in (tmp_path / name).read_text().splitlines()] == written
    assert logs.path("learner").read_text() == ""


def test_only_so_many_old_logs_are_kept(tmp_path):
    logs = Logs(tmp_path, max_bytes=1)
    for round_ in range(6):
        logs.path("learner").write_text(f"round {round_}")
        logs.rotate()

    assert len(list(tmp_path.glob("learner.log.*"))) == KEPT_LOGS
    assert (tmp_path / "learner.log.1").read_text() == "round 5"


def test_a_small_log_is_left_alone(tmp_path):
    logs = Logs(tmp_path)
    logs.path("learner").write_text("short")

    logs.rotate()

    assert logs.path("learner").read_text() == "short"


async def test_rotation_goes_on_after_a_copy_that_could_not_be_written(tmp_path):
    logs = Logs(tmp_path, max_bytes=1)
    logs.path("learner").write_text("many lines")
    in_the_way = tmp_path / ".learner.log.new"
    in_the_way.mkdir()
    with capture_logs() as said:
        rotation = asyncio.create_task(_rotate(logs, 0.01))
        async with asyncio.timeout(20):
            while not said:  # noqa: ASYNC110 - the loop of the launcher has no event for it
                await asyncio.sleep(0.01)
            in_the_way.rmdir()
            while logs.path("learner").read_text():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        rotation.cancel()

    assert {entry["event"] for entry in said} == {"log_rotation_failed"}
    assert [part.read_text() for part in logs.parts("learner")] == ["many lines"]
