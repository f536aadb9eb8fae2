"""Several logs read as one."""

import pytest

from tetrad_cli.log_stream import LogStream, UnknownLogError


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


def test_a_log_that_was_cut_is_read_from_its_start(folder):
    stream = LogStream(folder)
    stream.last(10)
    (folder / "learner.log").write_text("new\n")

    assert words(stream.added()) == [("learner", "new")]


def test_a_new_process_joins_the_stream(folder):
    stream = LogStream(folder)
    stream.last(10)
    (folder / "reward-0.log").write_text("hello\n")

    assert words(stream.added()) == [("reward-0", "hello")]
