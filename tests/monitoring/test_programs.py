"""A program that is missing is a reason to skip, unless it is required."""

import pytest
from programs import REQUIRED, needs, needs_program

NAME, PACKAGE = "no-such-program-anywhere", "such"


def test_a_missing_program_is_a_reason_to_skip_that_says_what_to_install(monkeypatch):
    monkeypatch.delenv(REQUIRED, raising=False)

    mark = needs_program(NAME, package=PACKAGE).mark

    assert (mark.name, mark.args) == ("skipif", (True,))
    assert mark.kwargs["reason"] == f"{NAME} is not installed: apt-get install {PACKAGE}"


def test_a_missing_program_that_is_required_is_a_failure(monkeypatch):
    monkeypatch.setenv(REQUIRED, "1")

    with pytest.raises(pytest.fail.Exception, match=f"{NAME} is not installed: .*{REQUIRED} is set"):
        needs_program(NAME, package=PACKAGE)


@pytest.mark.parametrize("required", ["", "1"])
def test_with_the_program_nothing_is_skipped(monkeypatch, required):
    monkeypatch.setenv(REQUIRED, required)

    assert needs("sh", package="dash", is_there=True).mark.args == (False,)
