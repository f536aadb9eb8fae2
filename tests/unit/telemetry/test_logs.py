"""Every line of a process, ours or a library's, has one format."""

import io
import json
import logging
import warnings

import pytest

from tetrad_telemetry import context, logs


@pytest.fixture(autouse=True)
def _clean_logging():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)
    context.unbind(*context.FIELDS)


def configured(format_="json", level="info"):
    stream = io.StringIO()
    logs.configure(service="rollout", format=format_, level=level, stream=stream)
    return stream


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_our_line_and_a_foreign_line_have_the_same_fields():
    stream = configured()

    logs.get_logger("ours").info("group_scored", lag=2)
    logging.getLogger("foreign").info("loaded %s", "weights")

    ours, foreign = lines(stream)
    assert ours.keys() - {"lag"} == foreign.keys()
    assert (ours["event"], ours["lag"], ours["service"], ours["level"]) == ("group_scored", 2, "rollout", "info")
    assert (foreign["event"], foreign["logger"]) == ("loaded weights", "foreign")


def test_what_is_bound_reaches_foreign_lines_too():
    stream = configured()

    with context.bound(group=17, version=3):
        logging.getLogger("foreign").warning("slow")
    logging.getLogger("foreign").warning("later")

    inside, outside = lines(stream)
    assert (inside["group"], inside["version"]) == (17, 3)
    assert "group" not in outside


def test_a_traceback_never_shows_local_variables():
    stream = configured()
    secret_tensor = "x" * 3

    try:
        {}["gone"]
    except KeyError:
        logs.get_logger("ours").exception("step_failed")

    (line,) = lines(stream)
    assert line["exception"][0]["exc_type"] == "KeyError"
    assert "locals" not in json.dumps(line["exception"])
    assert f"'{secret_tensor}'" not in stream.getvalue()


def test_the_console_format_is_readable_text():
    stream = configured("console")

    logs.get_logger("ours").info("group_scored", lag=2)

    assert "group_scored" in stream.getvalue()
    assert "lag=2" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue()


def test_lines_below_the_level_are_not_written():
    stream = configured(level="warning")

    logs.get_logger("ours").info("quiet")
    logs.get_logger("ours").warning("loud")

    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_a_second_configuration_replaces_the_first():
    first, second = configured(), configured()

    logs.get_logger("ours").info("once")

    assert first.getvalue() == ""
    assert len(lines(second)) == 1


def test_python_warnings_become_lines():
    stream = configured()

    warnings.warn("old api", stacklevel=1)

    assert "old api" in lines(stream)[0]["event"]


@pytest.mark.parametrize("wrong", [{"format_": "xml"}, {"level": "loud"}])
def test_an_unknown_format_or_level_is_refused(wrong):
    with pytest.raises(ValueError, match=r"xml|loud"):
        configured(**wrong)


def test_an_unknown_context_field_is_refused_by_name():
    with pytest.raises(ValueError, match="no field grup; it has run, version, group"):
        context.bind(grup=3)
