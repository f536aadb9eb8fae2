"""Several logs read as one."""

import pytest

from tetrad_cli.launch.logfiles import Logs
from tetrad_cli.log_follower import PATIENCE
from tetrad_cli.log_stream import LogStream, UnknownLogError
from tetrad_cli.severity import Severity


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "learner.log").write_text("2026-01-01T00:00:01Z one\n2026-01-01T00:00:04Z four\nTraceback\n")
    (tmp_path / "rollout-0.log").write_text('{"event": "two", "timestamp": "2026-01-01T00:00:02Z"}\n')
    (tmp_path / "rollout-1.log").write_text("\x1b[2m2026-01-01T00:00:03Z\x1b[0m three\n")
    return tmp_path


def words(lines):
    return [(line.split(" | ")[0].strip(), line.split(" | ")[1]) for line in lines]


def test_lines_are_merged_by_time_and_a_traceback_stays_with_its_line(folder):
    shown = words(LogStream(folder).last(10))

    assert [name for name, _ in shown] == ["learner", "rollout-0", "rollout-1", "learner", "learner"]
    assert shown[-1] == ("learner", "Traceback")


@pytest.mark.parametrize(
    ("names", "shown"), [(["rollout"], {"rollout-0", "rollout-1"}), (["rollout-1"], {"rollout-1"})]
)
def test_a_role_means_its_replicas_and_a_replica_itself(folder, names, shown):
    assert {name for name, _ in words(LogStream(folder, names=names).last(10))} == shown


def test_a_name_without_a_log_is_refused_with_those_there_are(folder):
    with pytest.raises(UnknownLogError, match=r"'teacher'.*there are learner, rollout-0, rollout-1"):
        LogStream(folder, names=["teacher"]).last(10)


def test_following_shows_complete_lines_once(folder):
    stream = LogStream(folder)
    stream.last(10)
    with (folder / "learner.log").open("a") as log:
        log.write("five\nhalf of ")
        log.flush()
        first = words(stream.added())
        log.write("six\n")
        log.flush()
        second = words(stream.added())

    assert (first, second) == ([("learner", "five")], [("learner", "half of six")])


def test_a_log_that_was_written_anew_is_read_from_its_start_after_a_few_looks(folder):
    stream = LogStream(folder)
    stream.last(10)
    (folder / "learner.log").write_text("new\n")

    looks = [words(stream.added()) for _ in range(PATIENCE)]

    assert looks == [[]] * (PATIENCE - 1) + [[("learner", "new")]]


def test_following_over_rotations_shows_every_line_once(folder):
    stream = LogStream(folder, names=["learner"])
    stream.last(10)
    logs = Logs(folder, max_bytes=10)
    shown, written = [], []
    with logs.path("learner").open("a", buffering=1) as log:
        for number in range(60):
            written.append(f"a line of some length {number}")
            log.write(written[-1] + "\n")
            if number % 7 == 3:
                logs.rotate()
            if number % 5 == 0:
                shown += stream.added()
    shown += stream.added()

    assert [line for _, line in words(shown)] == written


def test_a_half_line_is_finished_over_a_rotation(folder):
    stream = LogStream(folder, names=["learner"])
    stream.last(10)
    logs = Logs(folder, max_bytes=10)
    with logs.path("learner").open("a", buffering=1) as log:
        log.write("half of ")
        log.flush()
        first = stream.added()
        logs.rotate()
        log.write("a line\n")
        log.flush()

        assert (first, words(stream.added())) == ([], [("learner", "half of a line")])


def test_two_rotations_between_two_looks_lose_nothing(folder):
    stream = LogStream(folder, names=["learner"])
    stream.last(10)
    logs = Logs(folder, max_bytes=10)
    for text in ("one of the lines\n", "two of the lines\n", "three\n"):
        with logs.path("learner").open("a") as log:
            log.write(text)
        logs.rotate()

    assert [line for _, line in words(stream.added())] == ["one of the lines", "two of the lines", "three"]


def test_the_last_lines_reach_into_the_part_that_was_just_cut(folder):
    logs = Logs(folder, max_bytes=10)
    logs.rotate()
    (folder / "learner.log").write_text("2026-01-01T00:00:05Z five\n")

    shown = [line for _, line in words(LogStream(folder, names=["learner"]).last(3))]

    assert shown == ["2026-01-01T00:00:04Z four", "Traceback", "2026-01-01T00:00:05Z five"]


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (Severity.DEBUG, ["a", "b", "c", "Traceback", "d", "e"]),
        (Severity.WARNING, ["b", "c", "Traceback", "e"]),
        (Severity.ERROR, ["c", "Traceback"]),
    ],
)
def test_only_lines_that_are_grave_enough_are_shown_and_a_traceback_goes_with_its_line(tmp_path, level, shown):
    (tmp_path / "learner.log").write_text(
        "2026-01-01T00:00:01Z [info     ] a\n"
        "2026-01-01T00:00:02Z [warning  ] b\n"
        '{"event": "c", "level": "critical", "timestamp": "2026-01-01T00:00:03Z"}\n'
        "Traceback\n"
        "2026-01-01T00:00:04Z [debug    ] d\n"
        "WARNING: e\n"
    )

    lines = LogStream(tmp_path, level=level).last(10)

    assert [next(word for word in ("Traceback", *"abcde") if word in _text(line)) for line in lines] == shown


def _text(line):
    """What a line says, without its process, time and level."""
    text = line.split(" | ")[1]
    return text.split('"event": "')[1][0] if text.startswith("{") else text.split("] ")[-1].removeprefix("WARNING: ")


def test_a_new_process_joins_the_stream(folder):
    stream = LogStream(folder)
    stream.last(10)
    (folder / "reward-0.log").write_text("hello\n")

    assert words(stream.added()) == [("reward-0", "hello")]
